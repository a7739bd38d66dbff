// One plot of up to two minutes, as SVG: curves from zero, or areas on top of
// each other, with a key that shows the newest values, or those under the mouse.
//
//   const plot = new Plot(figure, {
//     title: "Buffers", format: count, stacked: true, top: () => 64,
//     series: [{name: "in use", color: "orange", value: point => point.inUse}],
//   });
//   plot.draw(points);   // {time: seconds, …} each, oldest first

"use strict";

const MOST_SHOWN = 120;  // seconds
// How far back the left end is: the first that holds all points.
const SPANS = [[30, "30 s ago"], [60, "1 min ago"], [MOST_SHOWN, "2 min ago"]];

class Plot {
  static WIDTH = 360;
  static HEIGHT = 128;
  static LEFT = 50;
  static BOTTOM = 16;

  constructor(figure, options) {
    this.options = options;
    this.points = [];
    const caption = figure.appendChild(document.createElement("figcaption"));
    caption.appendChild(document.createElement("b")).textContent = options.title;
    this.values = options.series.map(({name, color}) => {
      const key = caption.appendChild(document.createElement("div"));
      key.className = `key ${color}`;
      key.appendChild(document.createElement("i"));
      key.append(name);
      return key.appendChild(document.createElement("span"));
    });

    this.svg = svg(figure, "svg", {role: "img", "aria-label": options.title});
    this.grid = [0, 0.5, 1].map(share => ({
      share,
      line: svg(this.svg, "line", {class: "grid"}),
      text: svg(this.svg, "text", {"text-anchor": "end"}),
    }));
    this.ends = [svg(this.svg, "text", {}),
                 svg(this.svg, "text", {"text-anchor": "end"})];
    this.ends[1].textContent = "now";
    this.cursor = svg(this.svg, "line", {class: "cursor", visibility: "hidden"});
    // The first lies on top.
    this.curves = options.series.toReversed().map(({color}) => ({
      area: svg(this.svg, "path", {class: `area ${color}`}),
      curve: svg(this.svg, "path", {class: `curve ${color}`}),
    })).reverse();

    this.svg.addEventListener("pointermove", event => {
      this.mouse = event.clientX - this.svg.getBoundingClientRect().left;
      this.draw(this.points);
    });
    this.svg.addEventListener("pointerleave", () => {
      this.mouse = undefined;
      this.draw(this.points);
    });
    new ResizeObserver(() => this.draw(this.points)).observe(this.svg);
  }

  draw(points) {
    this.points = points;
    const width = this.svg.clientWidth || Plot.WIDTH;
    const right = width - 2;
    const bottom = Plot.HEIGHT - Plot.BOTTOM;
    const now = points.length ? points[points.length - 1].time : 0;
    const [span, ago] = SPANS.find(([span]) =>
        points.every(({time}) => now - time <= span)) ?? SPANS.at(-1);
    const x = time => right - (now - time) / span * (right - Plot.LEFT);
    this.ends[0].textContent = ago;

    const {series, stacked, format} = this.options;
    // Heights: of each series the lower and the upper edge at every point.
    let below = points.map(() => 0);
    const bands = series.map(({value}) => {
      const lower = stacked ? below : points.map(() => 0);
      const upper = points.map((point, i) => lower[i] + value(point));
      below = upper;
      return {lower, upper};
    });
    const most = Math.max(0, ...bands.flatMap(({upper}) => upper));
    const top = this.options.top?.() ?? roundUp(most);
    const y = value => bottom - Math.min(value / top, 1) * (bottom - 8);

    for (const {share, line, text} of this.grid) {
      const at = y(share * top);
      set(line, {x1: Plot.LEFT, x2: right, y1: at, y2: at});
      set(text, {x: Plot.LEFT - 6, y: at + 4});
      text.textContent = format(share * top);
    }
    set(this.ends[0], {x: Plot.LEFT, y: Plot.HEIGHT - 2});
    set(this.ends[1], {x: right, y: Plot.HEIGHT - 2});

    bands.forEach(({lower, upper}, s) => {
      const along = edge => edge.map(
          (value, i) => `${x(points[i].time).toFixed(1)},${y(value).toFixed(1)}`);
      const there = along(upper);
      const back = along(lower).reverse();
      this.curves[s].curve.setAttribute(
          "d", points.length > 1 ? `M${there.join("L")}` : "");
      this.curves[s].area.setAttribute(
          "d", points.length > 1 ? `M${there.join("L")}L${back.join("L")}Z` : "");
    });
    this.#showValues(x);
  }

  // The newest values, or those nearest to the mouse.
  #showValues(x) {
    let shown = this.points[this.points.length - 1];
    set(this.cursor, {visibility: "hidden"});
    if (this.mouse !== undefined && shown) {
      const distance = point => Math.abs(x(point.time) - this.mouse);
      shown = this.points.reduce((a, b) => distance(b) < distance(a) ? b : a);
      set(this.cursor, {x1: x(shown.time), x2: x(shown.time), y1: 8,
                        y2: Plot.HEIGHT - Plot.BOTTOM, visibility: "visible"});
    }
    this.options.series.forEach(({value}, s) => {
      this.values[s].textContent =
          shown ? this.options.format(value(shown)) : "–";
    });
  }
}

function svg(parent, name, attributes) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  set(element, attributes);
  return parent.appendChild(element);
}

function set(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    element.setAttribute(name, value);
  }
}

// The next of 1, 2, 4, 5, 10, … times a power of ten.
function roundUp(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return power * [1, 2, 4, 5, 10].find(step => value <= step * power * 1.0001);
}
