// A library that shows an rseq area of its own, as tcmalloc and old versions of
// librseq do, and registers it in the main thread alone, with the signature
// that FOREIGN_RSEQ_SIGNATURE names. For LD_PRELOAD.

#include <linux/rseq.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

__thread struct rseq __rseq_abi __attribute__((tls_model("initial-exec"))) = {
    .cpu_id = RSEQ_CPU_ID_UNINITIALIZED};

__attribute__((constructor)) static void RegisterMainThread(void) {
  const char* const signature = getenv("FOREIGN_RSEQ_SIGNATURE");
  if (signature == NULL) return;
  if (syscall(SYS_rseq, &__rseq_abi, 32, 0,
              (uint32_t)strtoul(signature, NULL, 0)) != 0) {
    perror("foreign_rseq");
  }
}
