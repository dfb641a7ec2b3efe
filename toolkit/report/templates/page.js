"use strict";
(() => {
  const button = document.getElementById("theme");
  button.hidden = false;
  button.addEventListener("click", () => {
    const root = document.documentElement;
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
  });

  // What is wider than its frame says so, and shows on which side more is.
  const measure = (frame) => {
    const box = frame.querySelector(".scroll");
    const over = box.scrollWidth > box.clientWidth + 1;
    frame.classList.toggle("overflows", over);
    frame.classList.toggle("at-end", box.scrollLeft + box.clientWidth >= box.scrollWidth - 1);
  };
  const sizes = new ResizeObserver((entries) => entries.forEach((one) => measure(one.target.closest(".frame"))));
  for (const box of document.querySelectorAll(".frame > .scroll")) {
    sizes.observe(box);
    box.addEventListener("scroll", () => measure(box.parentElement), { passive: true });
  }

  // The contents mark the part that is read.
  const links = new Map([...document.querySelectorAll("nav.contents a")].map((one) => [one.hash.slice(1), one]));
  const heads = [...links.keys()].map((id) => document.getElementById(id)).filter(Boolean);
  let current;
  const follow = () => {
    const passed = heads.filter((one) => one.getBoundingClientRect().top < 160).pop() ?? heads[0];
    const link = passed && links.get(passed.id);
    if (link === current) return;
    current?.removeAttribute("aria-current");
    link?.setAttribute("aria-current", "true");
    current = link;
    const bar = link?.closest("nav");
    if (bar && bar.scrollWidth > bar.clientWidth) bar.scrollLeft = link.offsetLeft - 24;
  };
  addEventListener("scroll", follow, { passive: true });
  follow();

  const unfold = () => {
    const target = location.hash && document.getElementById(location.hash.slice(1));
    const folded = target && target.closest("details");
    if (folded && !folded.open) { folded.open = true; target.scrollIntoView(); }
  };
  addEventListener("hashchange", unfold);
  unfold();

  // On paper nothing is folded.
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details:not([open])")];
    for (const one of opened) one.open = true;
  });
  addEventListener("afterprint", () => { for (const one of opened) one.open = false; });
})();
