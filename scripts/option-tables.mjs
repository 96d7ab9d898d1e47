/**
 * Writes the tables of options in README.md and docs/*.md, from the declarations: `npm run docs:options`. A table stands
 * between `<!-- options: … -->` and `<!-- end -->`. What is named there is one of these:
 *
 * - `tuning.heartbeat`: the options that are checked as `Options.check("tuning.heartbeat.", rules)`.
 * - `schemas/AioConfig.ts Tls`: an interface whose options have no rules, by its file.
 * - `environment`: the keys of `AioConfig.environment`.
 *
 * The meaning is the first sentence of the doc comment; default and range are those of the rule. With --check it writes
 * nothing and fails when a document differs.
 */
import { readdirSync, readFileSync, writeFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { runInNewContext } from "node:vm"
import * as Duration from "effect/Duration"
import * as Schedule from "effect/Schedule"
import ts from "typescript"
import * as AioConfig from "../src/schemas/AioConfig.js"
import * as Options from "../src/schemas/Options.js"

const root = fileURLToPath(new URL("../", import.meta.url))

const read = (name) => readFileSync(root + name, "utf8").replaceAll("\r\n", "\n")

const filesIn = (folder, extension) =>
  readdirSync(root + folder, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(extension))
    .map((name) => `${folder}/${name.replaceAll("\\", "/")}`)
    .sort()

const parse = (name) => ts.createSourceFile(name, read(name), ts.ScriptTarget.Latest, true)

// How values are shown

const units = Object.entries({ day: 86_400_000, hour: 3_600_000, minute: 60_000, second: 1_000, millisecond: 1 })

const durationText = (millis) => {
  const [name, size] = units.find(([, size]) => millis >= size) ?? ["", 1]
  const count = millis / size
  return millis === 0 ? "0" : `${count} ${name}${count === 1 ? "" : "s"}`
}

const numberText = (value) => {
  if (value > 0 && value % 2 ** 20 === 0) return `${value / 2 ** 20} MiB`
  if (value > 0 && value % 2 ** 10 === 0) return `${value / 2 ** 10} KiB`
  return value.toLocaleString("en-US")
}

/** A schedule is described by its option's doc comment. */
const defaultText = ({ default: value }, described) => {
  if (Schedule.isSchedule(value)) return described
  if (typeof value === "boolean") return `\`${value}\``
  return typeof value === "number" ? numberText(value) : durationText(Duration.toMillis(value))
}

const rangeText = (rule) => {
  if (typeof rule.default === "boolean" || Schedule.isSchedule(rule.default)) return ""
  if ("max" in rule) return `${numberText(rule.min)} to ${numberText(rule.max)}`
  return rule.min === 1 ? "up to 1 day" : `${durationText(rule.min)} to 1 day`
}

// What is declared

/** The groups of options that a file checks, each as it is named in the documents. */
const groupsOf = (source) => {
  const interfaces = new Map()
  const rules = new Map()
  const constants = []
  const groups = []
  const visit = (node) => {
    if (ts.isInterfaceDeclaration(node)) interfaces.set(node.name.text, node)
    else if (ts.isVariableDeclaration(node) && node.initializer !== undefined) {
      if (ts.isSatisfiesExpression(node.initializer)) rules.set(node.name.text, node.initializer)
      if (/^[A-Z_]+$/.test(node.name.text)) constants.push(`const ${node.name.text} = ${node.initializer.getText()}\n`)
    } else if (ts.isCallExpression(node) && /^\w+\.check$/.test(node.expression.getText())) {
      const [path, name] = node.arguments
      const declared = name && rules.get(name.getText())
      if (declared !== undefined && ts.isStringLiteral(path)) {
        // `Rules<Omit<Transport, "keepalive">>` are rules of `Transport`.
        const type = /^(\w+)\.Rules<(?:(?:Omit|Pick)<)?(\w+)/.exec(declared.type.getText())
        if (type === null) throw new Error(`${source.fileName}: ${name.getText()} satisfies no Rules<…>`)
        const [, namespace, of] = type
        const code = `${constants.join("")};(${declared.expression.getText()})`
        groups.push({
          name: path.text.replace(/\.$/, ""),
          type: interfaces.get(of),
          rules: runInNewContext(code, { [namespace]: Options, Schedule })
        })
      }
    }
    ts.forEachChild(node, visit)
  }
  visit(source)
  return groups
}

const groups = filesIn("src", ".ts")
  .filter((name) => read(name).includes("/Options.js"))
  .flatMap((name) => groupsOf(parse(name)))

const groupsNamed = (name) => groups.filter((group) => group.name === name)

const interfaceNamed = (file, name) => {
  const found = parse(`src/${file}`).statements.find((one) => ts.isInterfaceDeclaration(one) && one.name.text === name)
  if (found === undefined) throw new Error(`no interface ${name} in src/${file}`)
  return { type: found, rules: {} }
}

// The tables

const docOf = (member) =>
  ts
    .getJSDocCommentsAndTags(member)
    .map(({ comment }) => ts.getTextOfJSDocComment(comment) ?? "")
    .join(" ")
    .replace(/\{@link (\w+)\}/g, "`$1`")
    .replace(/\s+/g, " ")

const meaningOf = (option, doc) => {
  const [sentence = ""] = /^.*?\.(?= |$)/.exec(doc) ?? []
  if (sentence === "" || sentence.startsWith("Default"))
    throw new Error(`the doc comment of ${option} says not what it is`)
  return sentence
}

const rowsOf = (path, { rules, type }, prefix = "") =>
  type.members.flatMap((member) => {
    const name = member.name.getText()
    const [doc, rule] = [docOf(member), rules[name]]
    const [, otherwise = ""] = /Default:? ((?:[^.;]|\.(?=\d))+)/.exec(doc) ?? []
    const required = member.questionToken === undefined
    return [
      {
        Option: `\`${prefix}${name}\``,
        Default: required ? "required" : rule === undefined ? otherwise : defaultText(rule, otherwise),
        Range: rule === undefined ? "" : rangeText(rule),
        Meaning: meaningOf(`${path}.${name}`, doc)
      },
      ...groupsNamed(`${path}.${name}`).flatMap((inner) => rowsOf(`${path}.${name}`, inner, `${prefix}${name}.`))
    ]
  })

/** The options that have another name than their key in `AioConfig.environment`. */
const optionNames = {
  clientKeyFile: "clientKey: Credentials.keyFromFile(path)",
  clientSecretFile: "clientSecret: Credentials.secretFromFile(path)",
  tlsCa: "tls.ca",
  tlsCertificate: "tls.certificate",
  tlsPrivateKey: "tls.privateKey",
  tlsServerName: "tls.serverName"
}

const environmentRows = () => {
  const required = ["Common", "WithToken"]
    .flatMap((name) => interfaceNamed("schemas/AioConfig.ts", name).type.members)
    .flatMap((member) => (member.questionToken === undefined ? [member.name.getText()] : []))
  return Object.entries(AioConfig.environment).map(([name, key]) => ({
    Environment: key.names.map((key) => `\`${key}\``).join(", "),
    Option: `\`${optionNames[name] ?? name}\``,
    Default: required.includes(name) ? "required" : "default" in key ? defaultText(key) : "",
    Range: "default" in key ? rangeText(key) : "",
    Meaning: key.description.replace(/\bAIO_\w+/g, "`$&`")
  }))
}

const tableOf = (rows) => {
  const headings = Object.keys(rows[0]).filter((heading) => rows.some((row) => row[heading] !== ""))
  const cells = [headings, ...rows.map((row) => headings.map((heading) => row[heading].replaceAll("|", "\\|")))]
  const widths = headings.map((_, column) => Math.max(3, ...cells.map((row) => row[column].length)))
  const line = (row) => `| ${row.map((cell, column) => cell.padEnd(widths[column])).join(" | ")} |\n`
  const [first, ...others] = cells.map(line)
  return first + line(widths.map((width) => "-".repeat(width))) + others.join("")
}

const shown = new Set()

const tableNamed = (name) => {
  shown.add(name)
  if (name === "environment") return tableOf(environmentRows())
  const [file, type] = name.split(" ")
  const declared = type === undefined ? groupsNamed(name) : [interfaceNamed(file, type)]
  if (declared.length === 0) throw new Error(`no options are checked as ${name}`)
  return tableOf(declared.flatMap((group) => rowsOf(name, group)))
}

for (const name of ["README.md", ...filesIn("docs", ".md")]) {
  const text = read(name)
  const wanted = text.replace(
    /^<!-- options: ([^\n]+) -->\n.*?^<!-- end -->$/gms,
    (_, options) => `<!-- options: ${options} -->\n\n${tableNamed(options)}\n<!-- end -->`
  )
  if (text === wanted) continue
  if (process.argv.includes("--check")) {
    console.error(`${name} does not match the declared options: run \`npm run docs:options\` and commit the result.`)
    process.exitCode = 1
  } else writeFileSync(root + name, wanted)
}

const hasTable = (name) => shown.has(name) || shown.has(name.replace(/\.\w+$/, ""))
const hidden = groups.map(({ name }) => name).filter((name) => !hasTable(name))
if (hidden.length > 0) {
  console.error(`no document has a table of ${hidden.join(", ")}`)
  process.exitCode = 1
}
