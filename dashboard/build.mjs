// Builds gen/dashboard: one script, one style sheet, the page and its icon. The same input gives the same bytes.
import { copyFileSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";
import { minify } from "terser";

const out = "../gen/dashboard";
const LIMIT = 100_000;

mkdirSync(out, { recursive: true });
await build({
  entryPoints: ["src/main.tsx", "src/main.css"],
  outdir: out,
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  jsx: "automatic",
  jsxImportSource: "preact",
  legalComments: "none",
  logLevel: "warning",
});
// A twentieth smaller than what esbuild makes.
const script = readFileSync(`${out}/main.js`, "utf8");
const small = await minify(script, {
  module: true,
  ecma: 2022,
  compress: { passes: 3, keep_fargs: false, unsafe_arrows: true },
  format: { comments: false },
});
writeFileSync(`${out}/main.js`, `${small.code}\n`);
for (const name of ["index.html", "icon.svg"]) copyFileSync(`src/${name}`, `${out}/${name}`);

// What is in the script, and under which licence.
const { dependencies } = JSON.parse(readFileSync("package.json", "utf8"));
const licences = [...Object.keys(dependencies), "@dagrejs/graphlib", "@preact/signals-core"].sort().map((name) => {
  const at = `node_modules/${name}`;
  const file = readdirSync(at).find((each) => /^licen[cs]e/i.test(each));
  const { version } = JSON.parse(readFileSync(`${at}/package.json`, "utf8"));
  return `${name} ${version}\n\n${readFileSync(`${at}/${file}`, "utf8").trim()}\n`;
});
writeFileSync(`${out}/THIRD-PARTY.txt`, licences.join(`\n${"-".repeat(80)}\n\n`));

const names = ["index.html", "icon.svg", "main.css", "main.js"];
const sizes = names.map((name) => [name, gzipSync(readFileSync(`${out}/${name}`), { level: 9 }).length]);
const total = sizes.reduce((sum, [, size]) => sum + size, 0);
for (const [name, size] of sizes)
  console.log(`${name.padEnd(12)} ${statSync(`${out}/${name}`).size} bytes, ${size} gzip`);
console.log(`all          ${total} gzip, at most ${LIMIT}`);
if (total > LIMIT) process.exit(1);
