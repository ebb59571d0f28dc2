/* Keeps the page of a sweep up to date by reading it again every three seconds, as long as it is in
   view: the table of runs whenever it changed, the charts when a run has brought a result. */
"use strict";
(() => {
  const runs = document.getElementById("sweep-runs");
  const charts = document.getElementById("sweep-charts");
  const stale = document.getElementById("sweep-stale");
  const pause = 3000, patience = 9000;
  const dataOf = (place) => [...place.querySelectorAll("script[type='application/json']")].map((data) => data.textContent).join();
  let heard = Date.now(), table = runs.innerHTML, drawn = dataOf(charts);

  function show(page) {
    heard = Date.now();
    const fresh = (id) => page.getElementById(id);
    if (!fresh("sweep-stale")) { location.reload(); return; } // all runs are over
    const rows = fresh("sweep-runs").innerHTML;
    if (rows !== table) runs.innerHTML = table = rows;
    const data = dataOf(fresh("sweep-charts"));
    if (data === drawn) return;
    drawn = data;
    const opened = [...charts.querySelectorAll(".chart:has(details[open])")].map((chart) => chart.id);
    charts.innerHTML = fresh("sweep-charts").innerHTML;
    for (const id of opened) document.querySelector(`#${id} details`)?.setAttribute("open", "");
    document.dispatchEvent(new Event("charts:changed"));
  }

  async function ask() {
    if (!document.hidden) {
      try {
        const answer = await fetch(runs.dataset.news);
        if (answer.ok) show(new DOMParser().parseFromString(await answer.text(), "text/html"));
      } catch { /* the notice says that there are no news */ }
    }
    stale.hidden = document.hidden || Date.now() - heard < patience;
    setTimeout(ask, pause);
  }

  document.addEventListener("visibilitychange", () => { if (!document.hidden) heard = Date.now(); });
  setTimeout(ask, pause);
})();
