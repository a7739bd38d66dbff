// Reads /status.json each second, and shows it.

"use strict";

const PERIOD = 1000;   // milliseconds
const MEMORY = 10;     // seconds for which an overload is remembered
const samples = [];    // the statuses of the last two minutes, oldest first
const points = [];     // what the plots show of each, from the second on

const $ = id => document.getElementById(id);

// Numbers as people read them.

const count = value => value < 10 && value % 1 ? value.toFixed(1)
    : value < 1e5 ? Math.round(value).toLocaleString("en")
    : value < 1e6 ? `${Math.round(value / 1e3)} k`
    : value < 1e9 ? `${(value / 1e6).toPrecision(3)} M`
    : `${(value / 1e9).toPrecision(3)} G`;

function bytes(value) {
  for (const unit of ["B", "kB", "MB", "GB"]) {
    if (value < 1000 || unit === "GB") {
      return `${value < 10 && value % 1 ? value.toFixed(1) : Math.round(value)} ${unit}`;
    }
    value /= 1000;
  }
}

function duration(seconds) {
  if (seconds === 0) return "0";
  if (seconds < 1e-3) return `${Math.round(seconds * 1e6)} µs`;
  if (seconds < 1) return `${+(seconds * 1e3).toPrecision(2)} ms`;
  if (seconds < 60) return `${+seconds.toPrecision(2)} s`;
  const parts = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const first = parts.findIndex(([size]) => seconds >= size);
  return parts.slice(first, first + 2).map(([size, unit], i) => {
    const n = Math.floor((i ? seconds % parts[first][0] : seconds) / size);
    return `${n} ${unit}`;
  }).join(" ");
}

// What lies between two statuses.

const rate = (from, to, value) =>
    Math.max(0, value(to) - value(from)) / (to.uptime - from.uptime);

// The histogram of the waits in between; bucket i: shorter than 2^i µs.
function waitsBetween(from, to, classes) {
  return to.classes[0].buckets.map((_, bucket) => classes.reduce(
      (sum, c) => sum + to.classes[c].buckets[bucket] - from.classes[c].buckets[bucket],
      0));
}

// The least edge, in seconds, below which so large a share of them lies.
function percentile(buckets, share) {
  const all = buckets.reduce((sum, n) => sum + n, 0);
  if (all === 0) return undefined;
  let sum = 0;
  const bucket = buckets.findIndex(n => (sum += n) >= share * all);
  return 2 ** bucket / 1e6;
}

const allClasses = status => status.classes.map((_, i) => i);

function point(from, to) {
  const waits = waitsBetween(from, to, allClasses(to));
  return {
    time: to.uptime,
    toClient: rate(from, to, s => s.total.bytes_to_client),
    toBackend: rate(from, to, s => s.total.bytes_to_backend),
    open: to.total.open,
    accepted: rate(from, to, s => s.total.accepted - s.total.refused),
    refused: rate(from, to, s => s.total.refused),
    inUse: to.pool.in_use,
    cached: to.pool.cached,
    waiting: to.classes.map(c => c.waiting),
    waits: waits.reduce((sum, n) => sum + n, 0) / (to.uptime - from.uptime),
    p50: percentile(waits, 0.5) ?? 0,
    p99: percentile(waits, 0.99) ?? 0,
  };
}

// The state, in one line.

function judge(status) {
  const {pool, total} = status;
  const recent = samples.find(s => s.uptime >= status.uptime - MEMORY) ?? status;
  const since = value => value(status) - value(recent);
  const refused = since(s => s.total.refused);
  const sessions = `${count(total.open)} ${total.open === 1 ? "session" : "sessions"}`;
  if (status.draining) {
    return ["draining", "Draining", `No new connections; ${sessions} to end.`];
  }
  if (refused > 0) {
    return ["overloaded", "Overloaded",
            `${count(refused)} connections refused in the last ${MEMORY} s: too many sessions wait for buffers.`];
  }
  if (pool.waiting >= status.max_waiters || since(s => s.total.retries) > 0) {
    return ["overloaded", "Overloaded",
            `${count(pool.waiting)} sessions wait for buffers, as many as may.`];
  }
  if (since(s => s.total.accept_pauses) > 0) {
    return ["overloaded", "Overloaded",
            "No file descriptors are left; new connections wait in the kernel's queue."];
  }
  const last = points[points.length - 1];
  if (pool.waiting > 0 || last?.waits > 0) {
    const waits = last?.waits > 0
        ? `; ${count(last.waits)} waits a second, half of them below ${duration(last.p50)}` : "";
    return ["short", "Short of buffers",
            `${sessions}, ${count(pool.waiting)} wait now${waits}. None is dropped.`];
  }
  return ["fine", "Fine", `${sessions}, ${count(pool.in_use)} of ${count(pool.capacity)} buffers in use, nobody waits.`];
}

function showState([state, title, text]) {
  const line = $("state");
  line.dataset.state = state;
  line.replaceChildren(Object.assign(document.createElement("b"), {textContent: title}),
                       text);
  document.title = `relay: ${title.toLowerCase()}`;
}

// Tables.

// A cell: text; or {text, meter: [value, max]}; or {text, alarm}.
function fillTable(id, rows) {
  const body = $(id).tBodies[0];
  while (body.rows.length > rows.length) body.deleteRow(-1);
  rows.forEach((cells, r) => {
    const row = body.rows[r] ?? body.insertRow();
    cells.forEach((cell, c) => {
      const td = row.cells[c] ?? row.insertCell();
      const {text = cell, meter, alarm} = Object(cell);
      td.className = text === "0" || text === "–" ? "zero" : alarm ? "alarm" : "";
      td.replaceChildren(...(meter ? [gauge(...meter)] : []), String(text));
    });
  });
}

function gauge(value, max) {
  return Object.assign(document.createElement("meter"), {max: Math.max(max, 1), value});
}

function showTables(status) {
  const first = samples[0];
  const last = samples[samples.length - 2];
  const perSecond = value => last ? count(rate(last, status, value)) : "–";
  const bytesPerSecond = value => last ? `${bytes(rate(last, status, value))}/s` : "–";

  fillTable("classes", status.classes.map((c, i) => {
    const waits = waitsBetween(first, status, [i]);
    const below = share => {
      const edge = percentile(waits, share);
      return edge === undefined ? "–" : duration(edge);
    };
    return [c.name, count(c.waiting), perSecond(s => s.classes[i].grants),
            below(0.5), below(0.9), below(0.99), below(1)];
  }));

  fillTable("loops", status.loops.map((loop, i) => [
    i, count(loop.open),
    bytesPerSecond(s => s.loops[i].bytes_to_client),
    bytesPerSecond(s => s.loops[i].bytes_to_backend),
    count(loop.kept_buffers), count(loop.finished),
    {text: count(loop.refused), alarm: true},
    {text: count(loop.connect_failures), alarm: true},
    count(loop.resets), count(loop.idle_timeouts),
  ]));

  const {pool} = status;
  fillTable("caches", pool.caches.map((cache, i) => {
    const perSecondHere = field =>
        last?.pool.caches[i] ? perSecond(s => s.pool.caches[i][field]) : "–";
    return [
      cache.owned ? i : `${i} (no thread)`,
      {text: `${cache.cached} of ${cache.limit}`, meter: [cache.cached, cache.limit]},
      cache.biased ? "biased" : "shared",
      perSecondHere("refilled"), perSecondHere("steals"), perSecondHere("failures"),
      count(cache.revocations),
    ];
  }));
  $("bias").textContent = !pool.biased ? "never biased on this system"
      : `${count(pool.barriers)} barriers to take bias away, ${count(pool.refusals)} refused by the system` +
        (pool.pressed ? "; bypassed now: somebody is short" : "");

  $("pool").textContent = `${count(pool.available)} of ${count(pool.capacity)}; ` +
      `${count(pool.reserve)} are kept for sessions that need two`;
  showCores([...pool.cores.map((core, i) => [`core ${i}`, core]), ["untouched", pool.cold]],
            pool.capacity);
}

function showCores(cores, capacity) {
  $("cores").replaceChildren(...cores.map(([name, {buffers}]) => {
    const item = document.createElement("li");
    item.append(Object.assign(document.createElement("span"), {textContent: name}),
                gauge(buffers, capacity),
                Object.assign(document.createElement("b"), {textContent: count(buffers)}));
    return item;
  }));
}

// Plots.

const plots = [
  ["traffic", {title: "Sent / s", format: bytes, series: [
    {name: "to client", color: "blue", value: p => p.toClient},
    {name: "to backend", color: "orange", value: p => p.toBackend}]}],
  ["sessions", {title: "Sessions", format: count, series: [
    {name: "open", color: "blue", value: p => p.open}]}],
  ["arrivals", {title: "Connections / s", format: count, series: [
    {name: "accepted", color: "blue", value: p => p.accepted},
    {name: "refused", color: "orange", value: p => p.refused}]}],
  ["buffers", {title: "Buffers", format: count, stacked: true,
    top: () => samples[samples.length - 1]?.pool.capacity ?? 1, series: [
    {name: "in use", color: "orange", value: p => p.inUse},
    {name: "cached", color: "teal", value: p => p.cached}]}],
  ["waiting", {title: "Waiting", format: count, stacked: true, series: [
    {name: "complete", color: "orange", value: p => p.waiting[0]},
    {name: "pair", color: "teal", value: p => p.waiting[1]},
    {name: "receive", color: "blue", value: p => p.waiting[2]}]}],
  ["waits", {title: "Waits below", format: duration, series: [
    {name: "p99", color: "orange", value: p => p.p99},
    {name: "p50", color: "blue", value: p => p.p50}]}],
].map(([name, options]) => new Plot($(`plot-${name}`), options));

function show(status) {
  const last = samples[samples.length - 1];
  if (last && status.uptime < last.uptime) {  // another relay
    samples.length = points.length = 0;
  } else if (last && status.uptime > last.uptime) {
    points.push(point(last, status));
  }
  if (!last || status.uptime !== last.uptime) samples.push(status);
  while (samples[0].uptime < status.uptime - MOST_SHOWN) samples.shift();
  while (points.length && points[0].time < status.uptime - MOST_SHOWN) points.shift();

  $("route").textContent = `${status.listen} → ${status.backend}`;
  $("uptime").textContent = `up ${duration(status.uptime)}`;
  showState(judge(status));
  showTables(status);
  for (const plot of plots) plot.draw(points);
}

async function poll() {
  try {
    const response = await fetch("/status.json", {signal: AbortSignal.timeout(5000)});
    if (!response.ok) throw new Error(response.statusText);
    show(await response.json());
  } catch (error) {
    showState(["lost", "No answer", `The relay does not answer (${error.message}).`]);
  }
  setTimeout(poll, PERIOD);
}

poll();
