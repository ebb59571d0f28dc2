/* Keeps the page of a run that goes on up to date by asking every two seconds, as long as it is in
   view. Once the run is over, the page loads itself again. */
"use strict";
(() => {
  const run = document.getElementById("run");
  const lines = document.getElementById("run-lines");
  if (lines) lines.scrollTop = lines.scrollHeight;
  if (!run.dataset.news) return;

  const follow = document.getElementById("run-follow");
  const stale = document.getElementById("run-stale");
  const charts = document.getElementById("run-charts");
  const cancel = document.getElementById("run-cancel");
  const pause = 2000, patience = 6000;
  let { state, last } = run.dataset;
  let following = true, asking = false, heard = Date.now(), drawn = 0, drawing = 0, newest = "", next = 0;

  function setFollowing(wanted) {
    following = wanted;
    follow.setAttribute("aria-pressed", String(wanted));
    if (wanted) lines.scrollTop = lines.scrollHeight;
  }

  function addLines(html) {
    if (!html.trim()) return;
    lines.insertAdjacentHTML("beforeend", html);
    document.getElementById("run-silent").hidden = true;
    if (!following) return;
    while (lines.childElementCount > Number(lines.dataset.most)) lines.firstElementChild.remove();
    lines.scrollTop = lines.scrollHeight;
  }

  /* A chart that is there keeps its place, its zoom, its opened table, and whether it is interactive. */
  function drawCharts() {
    drawing = 0;
    drawn = Date.now();
    const fresh = document.createElement("template");
    fresh.innerHTML = newest;
    let before = charts.firstElementChild; // the heading
    for (const chart of fresh.content.querySelectorAll(".chart")) {
      const here = document.getElementById(chart.id);
      if (!here) before.after(chart);
      before = here ?? chart;
      if (!here) continue;
      chart.querySelector(".still").hidden = here.querySelector(".still").hidden;
      for (const part of ["figcaption", ".still", "script", ".scroll"]) here.querySelector(part).replaceWith(chart.querySelector(part));
    }
    document.dispatchEvent(new Event("charts:changed"));
  }

  function show(news) {
    heard = Date.now();
    if (news.over) { location.reload(); return; }
    last = news.last;
    for (const [name, html] of Object.entries(news.parts)) {
      if (name === "charts") newest = html; else document.getElementById(`run-${name}`).innerHTML = html;
    }
    if (news.parts.charts) drawing ||= setTimeout(drawCharts, Math.max(0, drawn + pause - heard));
    addLines(news.lines);
    if (news.state === state) return;
    state = news.state;
    document.getElementById("run-said").textContent = `The run is ${state}`;
    if (cancel) cancel.disabled = state === "cancelling";
  }

  async function ask() {
    if (asking) return; // that one asks again by itself
    asking = true;
    if (!document.hidden) {
      try {
        const answer = await fetch(`${run.dataset.news}?after=${last}`);
        if (answer.status === 404) { location.reload(); return; }
        if (answer.ok) show(await answer.json());
      } catch { /* the notice says that there are no news */ }
    }
    asking = false;
    next = setTimeout(ask, pause);
  }

  follow.hidden = false;
  follow.addEventListener("click", () => setFollowing(!following));
  lines.addEventListener("scroll", () => {
    const atEnd = lines.scrollHeight - lines.scrollTop - lines.clientHeight < 8;
    if (atEnd !== following) setFollowing(atEnd);
  }, { passive: true });
  setInterval(() => {
    const quiet = Date.now() - heard;
    stale.hidden = quiet < patience;
    document.getElementById("run-quiet").textContent = Math.round(quiet / 1000);
  }, 1000);
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) return;
    clearTimeout(next);
    heard = Date.now();
    ask();
  });
  ask();
})();
