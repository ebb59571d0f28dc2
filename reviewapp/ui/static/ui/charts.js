/* Draws each .plot from the JSON beside it, in the colours of the page's theme. A click on a
   mark that carries an address in customdata does what a link with that address on the page
   does, or opens the address. */
"use strict";
(() => {
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

  // Areas that touch need a line between them, and text that reads on the theme's own colours.
  function colourAreas(trace, c) {
    trace.marker = { ...trace.marker, line: { color: c.panel, width: 1.5 } };
    trace.root = { color: c.soft };
    trace.textfont = { color: c.panel };
    trace.pathbar = { ...trace.pathbar, textfont: { color: c.panel } };
  }

  function draw(plot) {
    const figure = JSON.parse(document.getElementById(plot.dataset.figure).textContent);
    const c = colours();
    const layout = {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { color: c.ink, family: getComputedStyle(document.body).fontFamily, size: 13 },
      colorway: [c.c1, c.c2, c.c3, c.c4, c.c5, c.c6],
      margin: { l: 8, r: 8, t: 8, b: 8 },
      hoverlabel: { bgcolor: c.panel, bordercolor: c.line, font: { color: c.ink } },
      ...figure.layout,
    };
    for (const key of Object.keys(layout)) if (/^[xy]axis\d*$/.test(key)) layout[key] = axis(layout[key], c);
    layout.xaxis ??= axis({}, c);
    layout.yaxis ??= axis({}, c);
    for (const trace of figure.data) if (trace.type === "icicle") colourAreas(trace, c);
    const name = plot.dataset.figure.replace(/-figure$/, "");
    Plotly.react(plot, figure.data, layout, {
      responsive: true, displaylogo: false,
      modeBarButtonsToRemove: ["lasso2d", "select2d", "autoScale2d"],
      toImageButtonOptions: { format: "svg", filename: name },
    });
    if (plot.dataset.bound) return;
    plot.dataset.bound = "yes";
    plot.on("plotly_click", (event) => {
      const address = event.points[0]?.customdata;
      if (typeof address !== "string" || !address.startsWith("/")) return;
      const link = [...document.links].find((other) => other.getAttribute("href") === address);
      if (link) link.click(); else location.assign(address);
    });
  }

  const drawAll = () => document.querySelectorAll(".plot[data-figure]").forEach(draw);
  drawAll();
  dark.addEventListener("change", drawAll);
  document.addEventListener("htmx:afterSettle", drawAll);
})();
