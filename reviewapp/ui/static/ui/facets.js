/* Leaves what is blank out of the address, keeps the opened parts of the panel open when the list
   is replaced, and copies to the clipboard. */
"use strict";
(() => {
  let opened = [];
  const parts = () => document.querySelectorAll("#facets details[id]");
  const show = (root) => root.querySelectorAll("[data-copy], [data-copy-link]").forEach((button) => { button.hidden = false; });

  document.addEventListener("htmx:configRequest", (event) => {
    if (event.detail.elt.id !== "facets") return;
    for (const [key, value] of [...event.detail.formData]) if (value === "") event.detail.formData.delete(key);
  });
  document.addEventListener("htmx:beforeSwap", () => {
    opened = [...parts()].filter((part) => part.open).map((part) => part.id);
  });
  document.addEventListener("htmx:afterSwap", () => {
    parts().forEach((part) => { part.open ||= opened.includes(part.id); });
    show(document);
  });

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy], [data-copy-link]");
    if (!button) return;
    const source = document.getElementById(button.dataset.copy);
    await navigator.clipboard.writeText(source ? source.textContent.trim() : location.href);
    const label = button.textContent;
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = label; }, 1500);
  });

  if (navigator.clipboard) show(document);
})();
