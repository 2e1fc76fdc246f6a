// Progress without a reload: what carries data-live="/admin/v1/runs/42/events" is told the text of each event, and the page is loaded again
// when the work is over. Everything else works without this file.
"use strict";
for (const place of document.querySelectorAll("[data-live]")) {
    const source = new EventSource(place.dataset.live);
    source.addEventListener("progress", (event) => {
        const told = JSON.parse(event.data);
        const text = place.querySelector("[data-live-text]") || place;
        text.textContent = told.text || "";
        const bar = place.querySelector("progress");
        if (bar && typeof told.percent === "number") bar.value = told.percent;
    });
    source.addEventListener("end", () => {
        source.close();
        location.reload();
    });
}
