// Runs every emitted verifier on every case: `node run.js FOLDER` prints one digit a case.
const fs = require("node:fs");
const path = require("node:path");

const folder = process.argv[2];
const cases = JSON.parse(fs.readFileSync(path.join(folder, "cases.json"), "utf8"));
const verifiers = new Map();
let out = "";
for (const c of cases) {
  if (!verifiers.has(c.verifier)) verifiers.set(c.verifier, require(path.resolve(folder, c.verifier + ".js")));
  const headers = Object.fromEntries(c.headers.map(([name, value]) => [name.toLowerCase(), value]));
  try {
    const body = Buffer.from(c.body, "base64");
    const answer = verifiers.get(c.verifier).verifyHealthieWebhook(c.method, c.target, headers, body, c.secret);
    out += answer === true ? "1" : answer === false ? "0" : "?";
  } catch (error) {
    process.stderr.write(`${c.name}: ${error}\n`);
    out += "E";
  }
}
process.stdout.write(out);
