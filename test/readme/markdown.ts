/** What the tests of README.md and of docs/ look at. */
import { readdirSync, readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"

export const root = fileURLToPath(new URL("../../", import.meta.url))

interface Block {
  readonly language: string
  readonly text: string
  /** The line of the file that the text begins on, from 1. */
  readonly line: number
}

interface Table {
  readonly firstCells: ReadonlyArray<string>
}

export interface Document {
  /** From the root of the repository: `docs/leases.md`. */
  readonly name: string
  readonly text: string
  readonly blocks: ReadonlyArray<Block>
  readonly tables: ReadonlyArray<Table>
  /** Targets of links within the repository, with their anchors. */
  readonly links: ReadonlyArray<string>
  /** Of its headings, as GitHub makes them. */
  readonly anchors: ReadonlyArray<string>
}

const lineOf = (text: string, index: number): number => text.slice(0, index).split("\n").length

const blocksOf = (text: string): ReadonlyArray<Block> =>
  Array.from(
    text.matchAll(/^```(\w*)[^\n]*\n(.*?)^```$/gms),
    ({ 0: whole, 1: language = "", 2: code = "", index }) => ({
      language,
      text: code,
      line: lineOf(text, index + whole.indexOf("\n") + 1)
    })
  )

const tablesOf = (text: string): ReadonlyArray<Table> =>
  Array.from(text.matchAll(/(?:^\|.*\n)+/gm), ([table]) => ({
    firstCells: table
      .trimEnd()
      .split("\n")
      .slice(2)
      .map((row) => row.split("|")[1]?.trim() ?? "")
  }))

const anchorOf = (heading: string): string =>
  heading
    .toLowerCase()
    .replace(/[^\p{L}\p{N} _-]/gu, "")
    .replaceAll(" ", "-")

export const read = (name: string): string => readFileSync(root + name, "utf8")

export const parse = (name: string, text: string): Document => {
  // Emptied rather than taken out: what is left keeps its lines.
  const prose = text.replace(/^```.*?^```$/gms, (code) => code.replace(/^.*$/gm, ""))
  return {
    name,
    text,
    blocks: blocksOf(text),
    tables: tablesOf(prose),
    links: Array.from(prose.matchAll(/\]\(([^)\s]+)\)/g), ([, target = ""]) => target).filter(
      (target) => !/^[a-z]+:/.test(target)
    ),
    anchors: Array.from(prose.matchAll(/^#+ (.*)$/gm), ([, heading = ""]) => anchorOf(heading))
  }
}

export const document = (name: string): Document => parse(name, read(name))

/** README.md and all of docs/. */
export const documents = (): ReadonlyArray<Document> => [
  ...["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"].map((name) => document(name)),
  ...readdirSync(`${root}docs`, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".md"))
    .sort()
    .map((name) => document(`docs/${name.replaceAll("\\", "/")}`))
]

/** The names that a cell shows as code: `` `AIO_ENV`, `ENV` `` holds two. */
export const namesIn = (cell: string): ReadonlyArray<string> =>
  Array.from(cell.matchAll(/`([^`]+)`/g), ([, name = ""]) => name)
