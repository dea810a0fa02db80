// What makes a page move: its charts, the order of its tables, light and dark, pictures enlarged.
// Without it everything but the charts is there all the same, in words too. It runs in the head, before anything
// is painted, and waits for the rest of the page where it needs it.
"use strict";

const root = document.documentElement;
const wantsDark = matchMedia("(prefers-color-scheme: dark)");
const printing = matchMedia("print");
let chosen = null; // "light" or "dark", once the reader has pressed the button

function themeOnScreen() {
  return chosen ?? (wantsDark.matches ? "dark" : "light");
}

root.dataset.theme = themeOnScreen();

function read(id) {
  return JSON.parse(document.getElementById(id).textContent);
}

// ---- Light and dark

function setUpTheme(charts) {
  const button = document.getElementById("theme");
  const show = () => {
    root.dataset.theme = themeOnScreen();
    button.setAttribute("aria-pressed", String(themeOnScreen() === "dark"));
    charts.recolour();
  };
  button.hidden = false;
  button.addEventListener("click", () => {
    chosen = themeOnScreen() === "dark" ? "light" : "dark";
    show();
  });
  wantsDark.addEventListener("change", show);
  printing.addEventListener("change", () => charts.recolour());
  show();
}

// ---- Charts

async function loadPlotly() {
  const packed = atob(document.getElementById("plotly").textContent);
  const bytes = new Uint8Array(packed.length);
  for (let i = 0; i < packed.length; i++) bytes[i] = packed.charCodeAt(i);
  const unpacked = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const script = document.createElement("script");
  script.textContent = await new Response(unpacked).text();
  document.head.append(script);
  if (!window.Plotly) throw new Error("plotly.js did not start");
}

const CONFIG = {
  displaylogo: false,
  // Named one by one: Plotly's own choice has a button that uploads the chart, and may grow others.
  modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]],
  plotlyServerURL: "",
};

class Chart {
  constructor(figure, templates) {
    this.figure = figure;
    this.plot = figure.querySelector(".plot");
    this.templates = templates;
    this.given = JSON.parse(figure.querySelector(":scope > script").textContent);
    this.drawn = false;
  }

  isLaidOut() {
    return !this.plot.closest("details:not([open])") && this.plot.clientWidth > 0;
  }

  async draw() {
    if (this.drawn || !this.isLaidOut()) return;
    this.drawn = true;
    const touched = matchMedia("(pointer: coarse)").matches;
    // A finger on a chart scrolls the page.
    const layout = { ...(touched ? { dragmode: false } : {}), ...this.given.layout, ...this.outside() };
    const toImageButtonOptions = { filename: this.given.name, scale: 2 };
    try {
      await window.Plotly.newPlot(this.plot, this.given.data, layout, { ...CONFIG, toImageButtonOptions });
      this.plot.dataset.drawn = this.templateName();
    } catch (error) {
      console.error(error);
      this.fail();
    }
  }

  templateName() {
    return printing.matches ? "light" : themeOnScreen();
  }

  outside() {
    const { clientWidth: width, clientHeight: height } = this.plot;
    return { template: this.templates[this.templateName()], width, height };
  }

  // Draws it again in other colours, or in a box of another size.
  async again() {
    if (!this.drawn || !this.isLaidOut()) return;
    await window.Plotly.relayout(this.plot, this.outside());
    this.plot.dataset.drawn = this.templateName();
  }

  async fit() {
    if (!this.drawn) await this.draw();
    const { clientWidth, clientHeight, layout } = this.plot;
    if (layout && (layout.width !== clientWidth || layout.height !== clientHeight)) await this.again();
  }

  fail() {
    const words = document.createElement("p");
    words.className = "failed";
    words.textContent = "This chart cannot be drawn here: it needs a browser of 2023 or later.";
    this.plot.replaceChildren(words);
    this.figure.querySelector(".alternative").open = true;
  }
}

class Charts {
  constructor() {
    const figures = [...document.querySelectorAll("figure.chart")];
    const templates = figures.length ? read("templates") : {};
    this.all = figures.map((figure) => new Chart(figure, templates));
    this.ready = false;
  }

  async start() {
    if (!this.all.length) return;
    try {
      await loadPlotly();
    } catch {
      for (const chart of this.all) chart.fail();
      return;
    }
    for (const chart of this.all) {
      await chart.draw();
      await new Promise((done) => setTimeout(done)); // lets the reader scroll between two charts
    }
    this.ready = true;
    this.followSizes();
    setUpPictures(this.all);
  }

  followSizes() {
    const changed = new Set();
    const observer = new ResizeObserver((entries) => {
      if (!changed.size) requestAnimationFrame(() => {
        for (const chart of changed) chart.fit();
        changed.clear();
      });
      for (const { target } of entries) changed.add(this.all.find(({ plot }) => plot === target));
    });
    for (const { plot } of this.all) observer.observe(plot);
    document.addEventListener("toggle", () => this.all.forEach((chart) => chart.draw()), { capture: true });
  }

  recolour() {
    for (const chart of this.all) chart.again();
  }
}

// ---- Pictures of a chart's points

function setUpPictures(charts) {
  const withPictures = charts.filter(({ given }) => given.pictures);
  if (!withPictures.length) return;
  const pictures = read("pictures");
  for (const chart of withPictures) new Pictures(chart, pictures);
}

class Pictures {
  constructor(chart, pictures) {
    this.chart = chart;
    this.sources = chart.given.pictures.map((number) => pictures[number]);
    this.names = chart.given.names;
    this.shown = -1;
    this.box = chart.figure.querySelector(".thumbnail");
    for (const button of this.box.querySelectorAll("button")) {
      button.addEventListener("click", () => this.step(Number(button.dataset.step)));
    }
    this.box.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (step) this.step(step);
    });
    if (chart.drawn) this.follow();
    else new MutationObserver((_, observer) => {
      observer.disconnect();
      this.follow();
    }).observe(chart.plot, { attributeFilter: ["data-drawn"] });
  }

  follow() {
    const show = ({ points }) => {
      const isOurs = (number) => Number.isInteger(number) && number in this.sources;
      const number = points.map(({ customdata }) => customdata?.[0]).find(isOurs);
      if (number !== undefined) this.show(number);
    };
    this.chart.plot.on("plotly_hover", show);
    this.chart.plot.on("plotly_click", show);
  }

  step(by) {
    const count = this.sources.length;
    this.show(this.shown < 0 ? (by > 0 ? 0 : count - 1) : (this.shown + by + count) % count);
    this.pointAt(this.shown);
  }

  show(number) {
    if (number === this.shown) return;
    this.shown = number;
    const name = this.names[number] ?? "";
    const image = document.createElement("img");
    image.src = this.sources[number];
    image.alt = name;
    this.box.querySelector(".pixels").replaceChildren(image);
    this.box.querySelector(".name").textContent = name;
  }

  // Shows in the chart whose picture it is.
  pointAt(number) {
    const { plot } = this.chart;
    if (!this.chart.drawn) return;
    plot.data.forEach((trace, curveNumber) => {
      const pointNumber = (trace.customdata ?? []).findIndex((own) => own?.[0] === number);
      if (pointNumber >= 0 && trace.visible !== "legendonly") {
        window.Plotly.Fx.hover(plot, [{ curveNumber, pointNumber }]);
      }
    });
  }
}

// ---- Tables

const collator = new Intl.Collator(undefined, { numeric: true });

function keyOf(cell) {
  if ("last" in cell.dataset) return null;
  if ("number" in cell.dataset) return Number(cell.dataset.number);
  return cell.dataset.text ?? cell.textContent;
}

// Numbers stand before texts.
function inOrder(a, b) {
  if (typeof a === "number" && typeof b === "number") return a - b;
  if (typeof a === "number" || typeof b === "number") return typeof a === "number" ? -1 : 1;
  return collator.compare(a, b);
}

function sortBy(table, column, descending) {
  const body = table.tBodies[0];
  const rows = [...body.rows].map((row) => ({ row, key: keyOf(row.cells[column]) }));
  rows.sort(({ key: a }, { key: b }) => {
    if (a === null || b === null) return (a === null) - (b === null); // what has no value is last either way
    return descending ? inOrder(b, a) : inOrder(a, b);
  });
  body.append(...rows.map(({ row }) => row));
}

function setUpTable(table) {
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    if (!button.textContent.trim()) {
      button.setAttribute("aria-label", `Sort by column ${column + 1}`);
    }
    button.addEventListener("click", () => {
      const descending = heading.getAttribute("aria-sort") === "ascending";
      sortBy(table, column, descending);
      for (const other of headings) other.removeAttribute("aria-sort");
      heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
    });
    heading.append(button);
  });
}

// Only what scrolls needs to be reached by keyboard.
function setUpScrolling() {
  const observer = new ResizeObserver((entries) => {
    for (const { target } of entries) {
      const scrolls = target.scrollWidth > target.clientWidth || target.scrollHeight > target.clientHeight;
      if (scrolls) target.tabIndex = 0;
      else target.removeAttribute("tabindex");
    }
  });
  for (const box of document.querySelectorAll(".scroll, pre.code")) observer.observe(box);
}

// ---- Pictures enlarged, code copied

function setUpEnlarging() {
  const dialog = document.getElementById("enlarged");
  for (const button of document.querySelectorAll(".enlarge")) {
    button.addEventListener("click", () => {
      const image = button.querySelector("img").cloneNode();
      const caption = button.closest("figure").querySelector("figcaption");
      const lines = [...(caption?.children ?? [])].map((line) => line.textContent);
      dialog.querySelector(".pixels").replaceChildren(image);
      dialog.querySelector("p").textContent = lines.join("\n");
      dialog.showModal();
    });
  }
  dialog.querySelector(".close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close(); // beside it
  });
}

function setUpCopying() {
  if (!navigator.clipboard) return;
  for (const code of document.querySelectorAll("pre.code")) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "copy";
    button.textContent = "Copy";
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(code.textContent);
        button.textContent = "Copied";
      } catch {
        button.textContent = "Not allowed here";
      }
    });
    code.after(button);
  }
}

document.addEventListener("DOMContentLoaded", async () => {
  for (const table of document.querySelectorAll("table")) setUpTable(table);
  setUpScrolling();
  setUpEnlarging();
  setUpCopying();
  const charts = new Charts();
  setUpTheme(charts);
  await charts.start();
  root.dataset.ready = "yes"; // everything that is unfolded is drawn
});
