// Shows what the platform says of the nozzle whose code was scanned.
const token = location.pathname.split("/").pop();
const answer = await fetch(`/api/v1/nozzles/${encodeURIComponent(token)}`);
const text = document.createElement("pre");
text.textContent = JSON.stringify(await answer.json(), null, 2);
document.getElementById("page").append(text);
