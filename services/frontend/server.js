"use strict";
// One page that lists the rules. GET / is the page, GET /health answers 200 while this process
// serves, whatever the backend does. Settings: HOST, PORT, BACKEND_URL.

const http = require("node:http");
const { install } = require("./install.js");

install(__dirname);
const { renderRules } = require("rules-table");

const backend = process.env.BACKEND_URL || "http://127.0.0.1:8000";

/** Return the whole page as HTML; throw when the backend does not list its rules. */
async function renderPage() {
  const answer = await fetch(`${backend}/api/rules?limit=1000`, {
    signal: AbortSignal.timeout(5000),
  });
  if (!answer.ok) {
    throw new Error(`the backend answered ${answer.status}`);
  }
  const { rules } = await answer.json();
  return (
    '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Rules</title>' +
    '<link rel="stylesheet" href="/static/rules.css">' +
    '<link rel="icon" href="/static/favicon.svg"></head>' +
    `<body><h1>Rules</h1>${renderRules(rules)}</body></html>\n`
  );
}

function send(response, status, type, body) {
  response.writeHead(status, { "Content-Type": type, "Content-Length": Buffer.byteLength(body) });
  response.end(body);
}

const server = http.createServer(async (request, response) => {
  const { pathname } = new URL(request.url, "http://frontend");
  if (pathname === "/health") {
    send(response, 200, "application/json", '{"status": "ok"}\n');
  } else if (pathname !== "/") {
    send(response, 404, "text/plain", "no such page\n");
  } else {
    try {
      send(response, 200, "text/html; charset=utf-8", await renderPage());
    } catch (error) {
      console.error(`the page could not be made: ${error.message}`);
      send(response, 502, "text/plain", "the backend does not answer\n");
    }
  }
});

server.listen(Number(process.env.PORT || 3000), process.env.HOST || "127.0.0.1");
for (const signal of ["SIGTERM", "SIGINT"]) {
  process.on(signal, () => {
    // requests under way end; connections that only wait would keep the process alive
    server.close(() => process.exit(0));
    server.closeIdleConnections();
  });
}
