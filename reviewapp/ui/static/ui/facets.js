/* Leaves what is blank out of the address, keeps the panel as it was when the list is replaced:
   its opened parts, and the control that was used where it stood; and copies to the clipboard. */
"use strict";
(() => {
  let opened = [];
  let used = null;
  const parts = () => document.querySelectorAll("#facets details[id]");
  const show = (root) => root.querySelectorAll("[data-copy], [data-copy-link]").forEach((button) => { button.hidden = false; });
  const top = (element) => element.getBoundingClientRect().top;

  document.addEventListener("htmx:configRequest", (event) => {
    if (event.detail.elt.id !== "facets") return;
    for (const [key, value] of [...event.detail.formData]) if (value === "") event.detail.formData.delete(key);
  });
  document.addEventListener("htmx:beforeSwap", () => {
    opened = [...parts()].filter((part) => part.open).map((part) => part.id);
    const control = document.activeElement.closest("#facets [id]");
    used = control && { id: control.id, top: top(control) };
  });
  document.addEventListener("htmx:afterSwap", () => {
    parts().forEach((part) => { part.open ||= opened.includes(part.id); });
    show(document);
    const control = used && document.getElementById(used.id);
    if (!control) return;
    control.focus({ preventScroll: true });
    scrollBy({ top: top(control) - used.top, behavior: "instant" });
  });

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy], [data-copy-link]");
    if (!button) return;
    const source = document.getElementById(button.dataset.copy);
    await navigator.clipboard.writeText(source ? source.textContent.trim() : location.href);
    button.dataset.label ??= button.textContent;
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = button.dataset.label; }, 1500);
  });

  if (navigator.clipboard) show(document);
})();
