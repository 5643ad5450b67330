"use strict";

const ENTITIES = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };

/** Return a text as HTML that shows just this text. */
function escape(text) {
  return String(text).replace(/[&<>"']/g, (character) => ENTITIES[character]);
}

/** Return rules, as the API lists them, as an HTML table. */
function renderRules(rules) {
  const rows = rules.map(
    (rule) =>
      `<tr><td>${escape(rule.id)}</td><td class="${escape(rule.severity)}">` +
      `${escape(rule.severity)}</td><td>${escape(rule.title)}</td>` +
      `<td>${escape(rule.tags.join(", "))}</td></tr>`,
  );
  return (
    "<table><thead><tr><th>id</th><th>severity</th><th>title</th><th>tags</th></tr></thead>" +
    `<tbody>${rows.join("")}</tbody></table>`
  );
}

module.exports = { renderRules };
