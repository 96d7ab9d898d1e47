/**
 * Prints the arrows between the folders of the map: which folder imports which, and how often. A folder is a room, or
 * a subject in core or layers. Fails on an arrow that goes upwards inside a room, and when there are too many.
 * The floors of the rooms themselves are kept by .dependency-cruiser.cjs.
 */
import { readdirSync, readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import ts from "typescript"

const src = fileURLToPath(new URL("../src/", import.meta.url))

/** Rooms on which all others stand: an arrow to them says nothing. */
const ground = new Set(["schemas", "internal"])
/** May only shrink. The last ones are those of `platform`, a room that joins `grpc` and `layers`. */
const MOST = 46

/** The folders of a room, lowest first; those of one line do not know each other. */
const subjects = [
  [["core"], ["core/auth", "core/balancing", "core/lease", "core/registry", "core/view"]],
  [["layers/auth", "layers/lease", "layers/view"], ["layers/balancing"], ["layers"]]
]
/** A file of a room's own root that its subjects use, as they use Backoff in core. */
const shared = new Set(["core/Backoff.ts", "layers/schedules.ts"])

const folderOf = (name) => {
  const [room, subject, file] = name.split("/")
  return file !== undefined && (room === "core" || room === "layers") ? `${room}/${subject}` : room
}

const arrows = new Map()
const names = readdirSync(src, { recursive: true }).map((name) => name.replaceAll("\\", "/"))
for (const name of names.filter((name) => name.endsWith(".ts") && name !== "index.ts").sort()) {
  const from = folderOf(name)
  for (const { fileName } of ts.preProcessFile(readFileSync(src + name, "utf8")).importedFiles) {
    if (!fileName.startsWith(".")) continue
    const target = new URL(fileName, `file:///${name}`).pathname.slice(1).replace(/\.js$/, ".ts")
    if (shared.has(target) && from.startsWith(folderOf(target))) continue
    const to = folderOf(target)
    const arrow = `${from} -> ${to}`
    if (from !== to) arrows.set(arrow, (arrows.get(arrow) ?? 0) + 1)
  }
}

const levelOf = (floors, folder) => floors.findIndex((floor) => floor.includes(folder))
const goesUp = (arrow) => {
  const [from, to] = arrow.split(" -> ")
  return subjects.some((floors) => {
    const above = levelOf(floors, to)
    return above >= 0 && levelOf(floors, from) >= 0 && above >= levelOf(floors, from)
  })
}
const onGround = (arrow) => ground.has(arrow.split(" -> ")[1])

const all = [...arrows].sort(([a], [b]) => (a < b ? -1 : 1))
for (const [arrow, imports] of all) {
  const remark = goesUp(arrow) ? "  upwards" : ""
  console.log(`${arrow.padEnd(40)}${String(imports).padStart(4)}${remark}`)
}
const counted = all.filter(([arrow]) => !onGround(arrow)).length
console.log(`${all.length} arrows, ${counted} without those to ${[...ground].join(" and ")} (at most ${MOST})`)

const problems = [
  ...all.filter(([arrow]) => goesUp(arrow)).map(([arrow]) => `${arrow} goes upwards`),
  ...(counted > MOST ? [`${counted} arrows between folders, more than ${MOST}`] : [])
]
for (const problem of problems) console.error(`error ${problem}`)
process.exit(problems.length > 0 ? 1 : 0)
