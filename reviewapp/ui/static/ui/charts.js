/* Each .chart has a drawing from the server. Plotly, which is large, is loaded only to draw one from
   the JSON beside it when asked to, or when it is saved as a picture. A click on a mark that carries an address in customdata does what a link with
   that address on the page does, or opens the address. */
"use strict";
(() => {
  const part = (chart, selector) => chart.querySelector(selector);
  const isDrawn = (plot) => plot.classList.contains("js-plotly-plot");
  const isShown = (plot) => isDrawn(plot) && !plot.hidden;
  const dark = matchMedia("(prefers-color-scheme: dark)");

  function colours() {
    const probe = document.body.appendChild(document.createElement("span"));
    const read = (name) => { probe.style.color = `var(--${name})`; return getComputedStyle(probe).color; };
    const found = {};
    for (const name of ["ink", "soft", "line", "panel", "accent", "accent-soft", "c1", "c2", "c3", "c4", "c5", "c6"]) found[name] = read(name);
    probe.remove();
    return found;
  }

  function axis(given, c) {
    return { gridcolor: c.line, linecolor: c.line, zerolinecolor: c.line, automargin: true, ...given };
  }

  // A trace that keeps its colour from chart to chart names it.
  function colourNamed(trace, c) {
    const colour = c[trace.meta.colour];
    trace.marker = { ...trace.marker, color: colour };
    trace.line = { ...trace.line, color: colour };
  }

  function figureOf(chart) {
    const { data, layout: given } = JSON.parse(part(chart, "script").textContent);
    const c = colours();
    const layout = {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { color: c.ink, family: getComputedStyle(document.body).fontFamily, size: 13 },
      colorway: [c.c1, c.c2, c.c3, c.c4, c.c5, c.c6],
      margin: { l: 8, r: 8, t: 8, b: 8 },
      hoverlabel: { bgcolor: c.panel, bordercolor: c.line, font: { color: c.ink } },
      modebar: { bgcolor: "rgba(0,0,0,0)", color: c.soft, activecolor: c.accent },
      ...given,
    };
    for (const key of Object.keys(layout)) if (/^[xy]axis\d*$/.test(key)) layout[key] = axis(layout[key], c);
    for (const shape of layout.shapes ?? []) shape.line = { ...shape.line, color: c.ink };
    for (const trace of data) {
      if (trace.meta?.colour) colourNamed(trace, c);
    }
    return { data, layout };
  }

  let loading;
  function load(chart) {
    loading ??= new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = chart.dataset.plotly;
      script.onload = resolve;
      script.onerror = () => { loading = undefined; reject(new Error("Plotly did not load")); };
      document.head.append(script);
    });
    return loading;
  }

  // What is on the page stays there when Plotly cannot be had.
  async function withPlotly(chart, act) {
    const status = part(chart, "[role=status]");
    try {
      await load(chart);
      status.textContent = "";
    } catch {
      status.textContent = "This could not be loaded.";
      return;
    }
    await act(chart);
  }

  function draw(chart) {
    const plot = part(chart, ".plot"), isNew = !isDrawn(plot), { data, layout } = figureOf(chart);
    Plotly.react(plot, data, layout, {
      responsive: true, displaylogo: false, showSendToCloud: false,
      modeBarButtonsToRemove: ["lasso2d", "select2d", "autoScale2d", "toImage"],
    });
    if (isNew) plot.on("plotly_click", open);
  }

  function open(event) {
    const address = event.points[0]?.customdata;
    if (typeof address !== "string" || !address.startsWith("/")) return;
    const link = [...document.links].find((other) => other.getAttribute("href") === address);
    if (link) link.click(); else location.assign(address);
  }

  function setInteractive(chart, wanted) {
    part(chart, ".plot").hidden = !wanted;
    part(chart, ".still").hidden = wanted;
    part(chart, "[data-interactive]").setAttribute("aria-pressed", String(wanted));
    if (wanted) draw(chart);
  }

  // The picture has the page's own colours, and says what it shows and where it is from.
  async function picture(chart) {
    const c = colours(), plot = part(chart, ".plot"), font = getComputedStyle(document.body).fontFamily;
    const { data, layout } = isShown(plot) ? plot : figureOf(chart);
    const width = Math.round(part(chart, ".save").getBoundingClientRect().width), { height } = layout;
    const drawn = await Plotly.toImage({ data, layout: { ...layout, width } }, { format: "svg", width, height });
    const figure = decodeURIComponent(drawn.slice(drawn.indexOf(",") + 1)).replace("<svg ", '<svg y="36" ');
    const source = `Peak Atlas, ${location.host}${location.pathname}${location.search}, ${new Date().toISOString().slice(0, 10)}`;
    const line = (text, y, px, colour) => {
      const element = document.createElementNS("http://www.w3.org/2000/svg", "text");
      for (const [name, value] of Object.entries({ x: 8, y, "font-size": px, fill: colour, "font-family": font })) element.setAttribute(name, value);
      element.textContent = text;
      return new XMLSerializer().serializeToString(element);
    };
    const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height + 64}">`
      + `<rect width="100%" height="100%" fill="${c.panel}"/>${line(part(chart, "h3").textContent, 24, 16, c.ink)}`
      + `${figure}${line(source, height + 54, 11, c.soft)}</svg>`;
    return { svg, width, height: height + 64 };
  }

  // Plotly's own PNG goes through an address that the Content-Security-Policy does not allow.
  async function asPng({ svg, width, height }) {
    const image = new Image();
    image.src = `data:image/svg+xml,${encodeURIComponent(svg)}`;
    await image.decode();
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [3 * width, 3 * height];
    canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
    return new Promise((resolve) => { canvas.toBlob(resolve, "image/png"); });
  }

  async function save(chart, format) {
    const drawn = await picture(chart);
    const link = document.createElement("a");
    link.href = URL.createObjectURL(format === "png" ? await asPng(drawn) : new Blob([drawn.svg], { type: "image/svg+xml" }));
    link.download = `${chart.id}.${format}`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-save], [data-interactive]");
    if (!button) return;
    const { save: format } = button.dataset, wanted = button.getAttribute("aria-pressed") === "false";
    withPlotly(button.closest(".chart"), (chart) => (format ? save(chart, format) : setInteractive(chart, wanted)));
  });

  function prepare(chart) {
    for (const button of chart.querySelectorAll("button")) button.hidden = false;
    if (isShown(part(chart, ".plot"))) draw(chart);
  }

  const prepareAll = () => document.querySelectorAll(".chart").forEach(prepare);
  prepareAll();
  dark.addEventListener("change", prepareAll);
  document.addEventListener("htmx:afterSettle", prepareAll);
  document.addEventListener("charts:changed", prepareAll);
})();
