#ifndef TANDEM_TOOLS_OUT_OF_MEMORY_H_
#define TANDEM_TOOLS_OUT_OF_MEMORY_H_

namespace tandem {

// What the programs here do when there is no memory for them to begin.
//
// A program that links this ends with exit code 1 and one line that names it
// when operator new finds nothing, whichever thread asked, and be it before
// main. Where Abseil finds no memory it says so itself, in one line, and
// aborts: that ends the program with exit code 1 as well.
//
// After Begun an abort is an abort. If `goes_on`, operator new throws from now
// on, for a server that does without what it asked for; else it ends the
// program as before.
void Begun(bool goes_on);

}  // namespace tandem

#endif  // TANDEM_TOOLS_OUT_OF_MEMORY_H_
