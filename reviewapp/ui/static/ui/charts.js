/* Draws each .plot from the JSON beside it, in the colours of the page's theme, and saves it as a
   picture. A click on a mark that carries an address in customdata does what a link with that
   address on the page does, or opens the address. */
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

  // A trace that keeps its colour from chart to chart names it.
  function colourNamed(trace, c) {
    const colour = c[trace.meta.colour];
    trace.marker = { ...trace.marker, color: colour };
    trace.line = { ...trace.line, color: colour };
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
      modebar: { bgcolor: "rgba(0,0,0,0)", color: c.soft, activecolor: c.accent },
      ...figure.layout,
    };
    for (const key of Object.keys(layout)) if (/^[xy]axis\d*$/.test(key)) layout[key] = axis(layout[key], c);
    layout.xaxis ??= axis({}, c);
    layout.yaxis ??= axis({}, c);
    for (const trace of figure.data) {
      if (trace.type === "icicle") colourAreas(trace, c);
      if (trace.meta?.colour) colourNamed(trace, c);
    }
    Plotly.react(plot, figure.data, layout, {
      responsive: true, displaylogo: false, showSendToCloud: false,
      modeBarButtonsToRemove: ["lasso2d", "select2d", "autoScale2d", "toImage"],
    });
    plot.closest(".chart")?.querySelectorAll("[data-save]").forEach((button) => { button.hidden = false; });
    if (plot.dataset.bound) return;
    plot.dataset.bound = "yes";
    plot.on("plotly_click", (event) => {
      const address = event.points[0]?.customdata;
      if (typeof address !== "string" || !address.startsWith("/")) return;
      const link = [...document.links].find((other) => other.getAttribute("href") === address);
      if (link) link.click(); else location.assign(address);
    });
  }

  // The picture has the page's own colours, and says what it shows and where it is from.
  async function picture(plot) {
    const c = colours(), size = plot.getBoundingClientRect(), font = getComputedStyle(document.body).fontFamily;
    const [width, height] = [Math.round(size.width), Math.round(size.height)];
    const layout = { ...plot.layout, width, height };
    const drawn = await Plotly.toImage({ data: plot.data, layout }, { format: "svg", width, height });
    const figure = decodeURIComponent(drawn.slice(drawn.indexOf(",") + 1)).replace("<svg ", '<svg y="36" ');
    const source = `Peak Atlas, ${location.host}${location.pathname}${location.search}, ${new Date().toISOString().slice(0, 10)}`;
    const line = (text, y, px, colour) => {
      const element = document.createElementNS("http://www.w3.org/2000/svg", "text");
      for (const [name, value] of Object.entries({ x: 8, y, "font-size": px, fill: colour, "font-family": font })) element.setAttribute(name, value);
      element.textContent = text;
      return new XMLSerializer().serializeToString(element);
    };
    const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height + 64}">`
      + `<rect width="100%" height="100%" fill="${c.panel}"/>${line(plot.closest(".chart").querySelector("h3").textContent, 24, 16, c.ink)}`
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

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-save]");
    if (!button) return;
    const figure = button.closest(".chart"), format = button.dataset.save;
    const drawn = await picture(figure.querySelector(".plot"));
    const link = document.createElement("a");
    link.href = URL.createObjectURL(format === "png" ? await asPng(drawn) : new Blob([drawn.svg], { type: "image/svg+xml" }));
    link.download = `${figure.id}.${format}`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  });

  const drawAll = () => document.querySelectorAll(".plot[data-figure]").forEach(draw);
  drawAll();
  dark.addEventListener("change", drawAll);
  document.addEventListener("htmx:afterSettle", drawAll);
  document.addEventListener("charts:changed", drawAll);
})();
