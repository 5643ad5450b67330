"use strict";
// Health probe of the container: exit 0 if /health answers 200.

const http = require("node:http");

const port = Number(process.env.PORT || 3000);
http
  .get({ host: "127.0.0.1", port, path: "/health", agent: false, timeout: 3000 }, (answer) =>
    process.exit(answer.statusCode === 200 ? 0 : 1),
  )
  .on("timeout", () => process.exit(1))
  .on("error", () => process.exit(1));
