// The request of the playground for a terminal and for programs. The key is never in it.

const address = (root) => root.href.replace(/\/$/, "");

function python(value, indent = 0) {
  const pad = "    ".repeat(indent + 1), end = "    ".repeat(indent);
  if (value === null) return "None";
  if (value === true) return "True";
  if (value === false) return "False";
  if (Array.isArray(value)) return value.length ? `[\n${value.map((v) => pad + python(v, indent + 1)).join(",\n")}\n${end}]` : "[]";
  if (typeof value === "object") return `{\n${Object.entries(value).map(([k, v]) => `${pad}${JSON.stringify(k)}: ${python(v, indent + 1)}`).join(",\n")}\n${end}}`;
  return JSON.stringify(value);
}

// Without what makes the playground's own pictures.
function plain({ stream, logprobs, ...body }) {
  return body;
}

export const snippets = {
  curl(body, root) {
    const text = JSON.stringify(plain(body), null, 2).replaceAll("'", "'\\''");
    return `curl -H "Authorization: Bearer $ADAPTERD_KEY" --json '${text}' \\\n  ${address(root)}/infer`;
  },
  python(body, root) {
    return `import json, os, urllib.request\n\nbody = ${python(plain(body))}\nrequest = urllib.request.Request(\n    ${JSON.stringify(address(root) + "/infer")},\n    json.dumps(body).encode(),\n`
      + `    {"Authorization": "Bearer " + os.environ["ADAPTERD_KEY"], "Content-Type": "application/json"})\nwith urllib.request.urlopen(request) as answer:\n    print(json.load(answer)["text"])`;
  },
  node(body, root) {
    return `const answer = await fetch(${JSON.stringify(address(root) + "/infer")}, {\n  method: "POST",\n  headers: { Authorization: \`Bearer \${process.env.ADAPTERD_KEY}\`, "Content-Type": "application/json" },\n`
      + `  body: JSON.stringify(${JSON.stringify(plain(body), null, 2).replaceAll("\n", "\n  ")}),\n});\nconsole.log((await answer.json()).text);`;
  },
};
