"use strict";
const box = document.getElementById("cards");
const cards = [...box.children].map((node, place) => ({
  node,
  place,
  values: JSON.parse(node.dataset.values),
  flags: JSON.parse(node.dataset.flags),
  text: "",
}));
const get = (id) => document.getElementById(id);
const find = get("find"), order = get("order"), flag = get("flag"), turn = get("turn");

// decode the frames of a card only when it comes near the window
const near = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (!isIntersecting) continue;
    near.unobserve(target);
    for (const strip of target.querySelectorAll(".strip"))
      for (const frame of strip.querySelectorAll("span")) frame.style.backgroundImage = `url(${strip.dataset.picture})`;
  }
}, { rootMargin: "600px" });
cards.forEach((card) => near.observe(card.node));

function show() {
  const words = find.value.toLowerCase().trim();
  let count = 0;
  for (const card of cards) {
    if (words && !card.text) card.text = card.node.textContent.toLowerCase();
    const wanted = (!words || card.text.includes(words)) &&
      (!flag.value || (flag.value === "*" ? card.flags.length > 0 : card.flags.includes(flag.value)));
    card.node.hidden = !wanted;
    count += wanted;
  }
  get("count").textContent = `${count} of ${cards.length}`;
}

function sort() {
  const key = Number(order.value), sign = turn.getAttribute("aria-pressed") === "true" ? -1 : 1;
  const value = (card) => (key < 0 ? card.place : card.values[key]);
  const sorted = [...cards].sort((a, b) => {
    const x = value(a), y = value(b);
    if (x === null || y === null) return (x === null) - (y === null) || a.place - b.place;
    return sign * (x - y) || a.place - b.place;
  });
  box.append(...sorted.map((card) => card.node));
}

find.addEventListener("input", show);
flag.addEventListener("change", show);
order.addEventListener("change", sort);
turn.addEventListener("click", () => {
  const high = turn.getAttribute("aria-pressed") !== "true";
  turn.setAttribute("aria-pressed", String(high));
  turn.textContent = high ? "highest first" : "lowest first";
  sort();
});
document.addEventListener("keydown", (event) => {
  const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement.tagName);
  if (event.key === "Escape" && typing) document.activeElement.blur();
  if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "/") {
    event.preventDefault();
    find.focus();
  } else if (event.key === "j" || event.key === "k") {
    const seen = [...box.children].filter((node) => !node.hidden);
    const at = seen.indexOf(document.activeElement.closest(".card"));
    const next = seen[Math.max(0, at + (event.key === "j" ? 1 : -1))];
    if (next) next.focus();
  }
});
show();
