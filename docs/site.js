// Code and tables that are wider than the page can be scrolled by keyboard, every landmark has a name of its own, so has
// the search, and a table's empty corner is a plain cell.
(() => {
  const names = new Map();
  const fix = () => {
    const wide = "pre > code:not([tabindex]), .md-typeset__scrollwrap:not([tabindex])";
    for (const one of document.querySelectorAll(wide)) one.tabIndex = 0;
    for (const nav of document.querySelectorAll(".md-code__nav:not([data-named]), nav[aria-label]:not([data-named])")) {
      const name = nav.getAttribute("aria-label") ?? "Copy code";
      const key = name.toLowerCase(); // as a screen reader says it
      const number = (names.get(key) ?? 0) + 1;
      names.set(key, number);
      nav.dataset.named = "";
      nav.setAttribute("aria-label", number > 1 ? `${name} ${number}` : name);
    }
    document.querySelector(".md-search:not([aria-label])")?.setAttribute("aria-label", "Search");
    for (const cell of document.querySelectorAll(".md-typeset th:empty")) cell.replaceWith(document.createElement("td"));
  };
  fix();
  new MutationObserver(fix).observe(document.body, { childList: true, subtree: true });
})();
