"use strict";
// marks of rows; they stay in the browser until they are saved as a file
const cards = [...document.querySelectorAll(".card")];
const count = document.getElementById("count");
function tell() {
  const of = (mark) => cards.filter((card) => card.dataset.mark === mark).length;
  count.textContent = `${of("drop")} to drop, ${of("keep")} to keep, of ${cards.length}`;
}
function mark(card, what) {
  if (card.dataset.mark === what) delete card.dataset.mark;
  else card.dataset.mark = what;
  tell();
}
for (const card of cards) {
  for (const button of card.querySelectorAll("[data-mark]")) {
    button.addEventListener("click", () => mark(card, button.dataset.mark));
  }
}
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const at = cards.indexOf(document.activeElement?.closest(".card"));
  if (event.key === "j" || event.key === "k") {
    const next = cards[Math.min(cards.length - 1, Math.max(0, at + (event.key === "j" ? 1 : -1)))];
    next?.focus();
    next?.scrollIntoView({ block: "center" });
  } else if (at >= 0 && event.key === "d") mark(cards[at], "drop");
  else if (at >= 0 && event.key === "f") mark(cards[at], "keep");
});
document.getElementById("save").addEventListener("click", () => {
  const lines = cards.filter((card) => card.dataset.mark)
    .map((card) => JSON.stringify({ id: card.dataset.id, mark: card.dataset.mark }) + "\n");
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob(lines, { type: "application/x-ndjson" }));
  link.download = "marks.jsonl";
  link.click();
  URL.revokeObjectURL(link.href);
});
tell();
