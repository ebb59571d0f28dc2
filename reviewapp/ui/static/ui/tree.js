/* The keys of the WAI-ARIA tree pattern for each [role=tree] of links: arrows, Home, End, * and
   typing a name. Enter follows the link. Branches that were closed stay closed after a swap. */
"use strict";
(() => {
  const closed = new Set();
  let typed = "", lastTyped = 0;

  const items = (tree) => [...tree.querySelectorAll("[role=treeitem]")];
  const branch = (item) => item.nextElementSibling?.matches("[role=group]") ? item.nextElementSibling : null;
  const parent = (item) => item.closest("[role=group]")?.previousElementSibling ?? null;
  const siblings = (item) => [...item.closest("ul").querySelectorAll(":scope > li > [role=treeitem]")];
  const isOpen = (item) => item.getAttribute("aria-expanded") === "true";
  const shown = (tree) => items(tree).filter((item) => item.getClientRects().length > 0);

  function open(item, wanted) {
    if (!branch(item)) return;
    item.setAttribute("aria-expanded", String(wanted));
    if (wanted) closed.delete(item.id); else closed.add(item.id);
  }

  /* One item of the tree takes part in the Tab order. */
  function rove(tree, item) {
    for (const other of items(tree)) other.tabIndex = other === item ? 0 : -1;
  }

  function go(tree, item) {
    if (!item) return;
    rove(tree, item);
    item.focus();
  }

  function find(tree, item, letter) {
    const now = Date.now();
    typed = now - lastTyped < 700 ? typed + letter : letter;
    lastTyped = now;
    const all = shown(tree);
    const from = all.indexOf(item) + (typed.length > 1 ? 0 : 1);
    const name = (other) => other.querySelector(".name").textContent.toLowerCase();
    return [...all.slice(from), ...all.slice(0, from)].find((other) => name(other).startsWith(typed));
  }

  const keys = {
    ArrowDown: (tree, item) => go(tree, shown(tree)[shown(tree).indexOf(item) + 1]),
    ArrowUp: (tree, item) => go(tree, shown(tree)[shown(tree).indexOf(item) - 1]),
    ArrowRight: (tree, item) => branch(item) && !isOpen(item) ? open(item, true) : go(tree, branch(item)?.querySelector("[role=treeitem]")),
    ArrowLeft: (tree, item) => branch(item) && isOpen(item) ? open(item, false) : go(tree, parent(item)),
    Home: (tree) => go(tree, shown(tree)[0]),
    End: (tree) => go(tree, shown(tree).at(-1)),
    "*": (tree, item) => siblings(item).forEach((other) => open(other, true)),
    " ": (tree, item) => item.click(),
  };

  function press(event) {
    const item = event.target.closest("[role=treeitem]");
    if (!item || event.ctrlKey || event.altKey || event.metaKey) return;
    const tree = item.closest("[role=tree]");
    if (keys[event.key]) keys[event.key](tree, item);
    else if (event.key.length === 1) go(tree, find(tree, item, event.key.toLowerCase()));
    else return;
    event.preventDefault();
  }

  function toggle(event) {
    if (!event.target.matches(".twisty")) return;
    event.preventDefault();
    event.stopPropagation();
    const item = event.target.closest("[role=treeitem]");
    open(item, !isOpen(item));
  }

  function start(tree) {
    for (const item of items(tree)) if (closed.has(item.id)) open(item, false);
    const selected = tree.querySelector("[aria-selected=true]");
    for (let above = selected && parent(selected); above; above = parent(above)) open(above, true);
    const focused = tree.contains(document.activeElement) ? document.activeElement : null;
    rove(tree, focused ?? selected ?? items(tree)[0]);
    if (tree.dataset.bound) return;
    tree.dataset.bound = "yes";
    tree.addEventListener("keydown", press);
    tree.addEventListener("click", toggle, true);
  }

  const startAll = () => document.querySelectorAll("[role=tree]").forEach(start);
  startAll();
  document.addEventListener("htmx:afterSettle", startAll);
})();
