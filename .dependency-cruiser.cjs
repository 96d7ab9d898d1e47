// The floors of the house, lowest first. A room imports itself and the floors below, never its neighbour.
const floors = [
  ["internal"],
  ["schemas"],
  ["telemetry"],
  ["wire"],
  ["core"],
  ["store"],
  ["services", "grpc", "simulator"],
  ["layers"],
  ["control-plane", "platform", "index.ts"]
]

// What is data and plain functions in effect: no fiber, no clock, no randomness.
const effectData = [
  ...["Array", "BigDecimal", "BigInt", "Boolean", "Brand", "Chunk", "Data", "Duration", "Either", "Encoding", "Equal"],
  ...["Equivalence", "Function", "Hash", "HashMap", "HashSet", "Inspectable", "Iterable", "List", "Match"],
  ...["MutableHashMap", "MutableHashSet", "MutableList", "MutableRef", "NonEmptyIterable", "Number", "Option", "Order"],
  ...["Ordering", "ParseResult", "Pipeable", "Predicate", "Record", "RedBlackTree", "Redacted", "Schema", "SortedMap"],
  ...["SortedSet", "String", "Struct", "Trie", "Tuple", "Types"]
]

const inRoom = (room) => (room.includes(".") ? `^src/${room.replace(".", "\\.")}$` : `^src/${room}/`)
const rooms = floors.flat()

const floorRules = floors.flatMap((floor, level) =>
  floor.map((room) => ({
    name: `floor-of-${room}`,
    comment: `${room} may import only itself and the floors below it`,
    severity: "error",
    from: { path: inRoom(room) },
    to: { path: "^src/", pathNot: [inRoom(room), ...floors.slice(0, level).flat().map(inRoom)] }
  }))
)

const onlyIn = (room, packages, ...exceptions) => ({
  name: `only-in-${room}`,
  comment: `${packages.join(", ")} may be imported in src/${room} only`,
  severity: "error",
  from: { path: "^src/", pathNot: [inRoom(room), ...exceptions] },
  to: { path: `(^|/)node_modules/(${packages.join("|")})/` }
})

/** @type {import("dependency-cruiser").IConfiguration} */
module.exports = {
  forbidden: [
    {
      name: "no-cycles",
      comment: "also through types: a cycle has no lowest floor",
      severity: "error",
      from: {},
      to: { circular: true }
    },
    ...floorRules,
    {
      name: "known-rooms",
      comment: "a new room gets a floor in this file first",
      severity: "error",
      from: { path: "^src/", pathNot: rooms.map(inRoom) },
      to: {}
    },
    // The generated descriptors name a type of the loader, and run nothing of it.
    onlyIn("grpc", ["@grpc/grpc-js", "@grpc/proto-loader", "protobufjs"], "^src/wire/descriptors\\.ts$"),
    {
      name: "one-way-into-wire",
      comment: "values go in and out by Wire; the generated files are types and descriptors",
      severity: "error",
      from: { path: "^src/", pathNot: ["^src/wire/"] },
      to: { path: "^src/wire/", pathNot: ["^src/wire/(Wire|Messages|descriptors)\\.ts$"] }
    },
    onlyIn("control-plane", ["@grpc/reflection", "grpc-health-check"]),
    {
      name: "src-stands-alone",
      comment: "the library knows nothing of its tests, examples and benchmarks",
      severity: "error",
      from: { path: "^src/" },
      to: { path: "^(test|examples|bench|scripts)/" }
    },
    {
      name: "core-without-runtime",
      comment: "core is pure: of effect only its data modules, and nothing else from outside",
      severity: "error",
      from: { path: "^src/core/" },
      to: {
        path: "(^|/)node_modules/",
        pathNot: `(^|/)node_modules/effect/dist/(esm|cjs|dts)/(${effectData.join("|")})\\.(d\\.ts|js)$`
      }
    },
    {
      name: "core-without-node",
      comment: "time and randomness are handed to core",
      severity: "error",
      from: { path: "^src/core/" },
      to: { dependencyTypes: ["core"] }
    },
    {
      name: "shipped-dependencies",
      comment: "what src imports is installed with it, so it stands in dependencies or peerDependencies",
      severity: "error",
      from: { path: "^src/" },
      to: { dependencyTypes: ["npm-dev", "npm-no-pkg", "npm-unknown"], dependencyTypesNot: ["npm", "npm-peer"] }
    },
    {
      name: "resolvable",
      comment: "an import that is not resolved escapes every other rule",
      severity: "error",
      from: { path: "^src/" },
      to: { couldNotResolve: true }
    }
  ],
  options: {
    doNotFollow: { path: "node_modules" },
    tsConfig: { fileName: "tsconfig.json" },
    tsPreCompilationDeps: true,
    enhancedResolveOptions: { exportsFields: ["exports"], conditionNames: ["import", "types", "node", "default"] }
  }
}
