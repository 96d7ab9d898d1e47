/** What has another shape on Effect 4, by its key: a call as the source for Effect 3 has it, and the edits it needs. */
import ts from "typescript"
import * as Rules from "./rules.mjs"
import { kindOf, ownerOf } from "./types.mjs"

const last = (list) => list[list.length - 1]

const around = (file, node, open, close = ")") => {
  file.edits.insertBefore(node.getStart(file.sf), open)
  file.edits.insertAfter(node.getEnd(), close)
}

/** `Context.Tag(id)<Id, Shape>()` → `Context.Service<Id, Shape>()(id)`. */
const tag = (file, call) => {
  const { arguments: ids, expression } = call.expression
  const [id] = ids
  const context = file.imports.use("effect/Context", call)
  file.edits.replace(expression.getStart(file.sf), call.expression.getEnd(), `${context}.Service`)
  file.edits.insertAfter(call.getEnd(), `(${id.getText(file.sf)})`)
}

/** `Context.Reference<Id>()(id, options)` → `Context.Reference(id, options)`. */
const reference = (file, call) => file.edits.remove(call.expression.expression.getEnd(), call.expression.getEnd())

/** Of a call of a call: `Context.Tag(id)<Id, Shape>()`. */
const curried = { "Context.Reference": reference, "Context.Tag": tag }

const isObject = (node) => node !== undefined && ts.isObjectLiteralExpression(node)

/** `Schedule.upTo(duration)` → `Schedule.upTo({ duration })`. */
const upTo = (file, { arguments: all }) => {
  const duration = last(all)
  if (duration !== undefined && !isObject(duration)) around(file, duration, "{ duration: ", " }")
}

/** `union(other)` → `(self) => min([self, other])`, and `intersect` → `max`; `union(self, other)` → `min([self, other])`. */
const combined = (file, call, key) => {
  const name = key === "Schedule.union" ? "min" : "max"
  const combine = `${file.imports.use("effect/Schedule", call)}.${name}`
  const [first] = call.arguments
  const open = call.arguments.length === 1 ? `(self) => ${combine}([self, ` : `${combine}([`
  file.edits.replace(call.getStart(file.sf), first.getStart(file.sf), open)
  file.edits.insertAfter(last(call.arguments).getEnd(), "]")
}

/** `addDelayEffect(schedule, (output) => …)` → `addDelay(schedule, ({ output }) => …)`. */
const addDelay = (file, { arguments: all }) => {
  const [output] = last(all).parameters
  around(file, output.name, "{ output: ", " }")
}

/** `jitteredWith({ min, max })` → `modifyDelay` by such a factor. */
const jitteredWith = (file, call) => {
  const [options] = call.arguments
  const bounds = ["min", "max"].map((name) => {
    const { initializer } = options.properties.find((property) => property.name.getText(file.sf) === name)
    return initializer.getText(file.sf)
  })
  const { use } = file.imports
  const random = `${use("effect/Random")}.nextBetween(${bounds.join(", ")})`
  const delay = `(factor) => ${use("effect/Duration")}.times(duration, factor)`
  file.edits.replace(
    options.getStart(file.sf),
    options.getEnd(),
    `({ duration }) => ${use("effect/Effect")}.map(${random}, ${delay})`
  )
}

/** `withClock(clock)` → `provideService(Clock.Clock, clock)`; and data first. */
const provided = (file, { arguments: all, expression }, key) => {
  const [[module, member], [serviceModule, service]] = Rules.provided[key].map((name) => name.split("."))
  const { use } = file.imports
  file.edits.replace(expression.getStart(file.sf), expression.getEnd(), `${use(`effect/${module}`)}.${member}`)
  file.edits.insertBefore(last(all).getStart(file.sf), `${use(`effect/${serviceModule}`)}.${service}, `)
}

/** `add(logger)`, `replace(old, logger)` and `remove(old)` → `layer([logger])`. */
const logger = (file, call, key) => {
  const layer = `${file.imports.use("effect/Logger")}.layer([`
  const [first] = call.arguments
  if (key === "Logger.remove") {
    file.edits.replace(call.getStart(file.sf), call.getEnd(), `${layer}])`)
    return
  }
  const added = last(call.arguments)
  file.edits.replace(call.getStart(file.sf), added.getStart(file.sf), layer)
  const close = first === added ? "], { mergeWithExisting: true })" : "])"
  file.edits.replace(added.getEnd(), call.getEnd(), close)
}

/** It includes the maximum now, unless it is told not to. */
const nextIntBetween = (file, { arguments: all }) => file.edits.insertAfter(last(all).getEnd(), ", { halfOpen: true }")

/** `timeoutFail({ onTimeout: () => error })` → `timeoutOrElse({ orElse: () => Effect.fail(error) })`. */
const timeoutFail = (file, { arguments: all }) => {
  const options = last(all)
  if (!isObject(options)) return
  const fail = `${file.imports.use("effect/Effect")}.fail`
  for (const property of options.properties) {
    if (property.name?.getText(file.sf) !== "onTimeout") continue
    if (ts.isShorthandPropertyAssignment(property)) {
      file.edits.replace(property.getStart(file.sf), property.getEnd(), `orElse: () => ${fail}(onTimeout())`)
      continue
    }
    file.edits.replace(property.name.getStart(file.sf), property.name.getEnd(), "orElse")
    const { initializer } = property
    // A function whose type says what it gives, or whose body has statements, is called as it is.
    if (ts.isArrowFunction(initializer) && !ts.isBlock(initializer.body) && initializer.type === undefined) {
      around(file, initializer.body, `${fail}(`)
    } else around(file, initializer, `() => ${fail}((`, ")())")
  }
}

/** `dieMessage(text)` → `die(new Error(text))`. */
const dieMessage = (file, { arguments: [text] }) => {
  if (text !== undefined) around(file, text, "new Error(")
}

/** `Schema.Record({ key, value })` → `Schema.Record(key, value)`. */
const record = (file, { arguments: [options] }) => {
  if (!isObject(options)) return
  const [key, value] = ["key", "value"].map(
    (name) => options.properties.find((property) => property.name.getText(file.sf) === name).initializer
  )
  file.edits.remove(options.getStart(file.sf), key.getStart(file.sf))
  file.edits.replace(key.getEnd(), value.getStart(file.sf), ", ")
  file.edits.remove(value.getEnd(), options.getEnd())
}

const list = (file, { arguments: all, expression }, key) => {
  if (all.length === 0) return
  if (key === "Schema.Literal") {
    if (all.length === 1 && !ts.isSpreadElement(all[0])) return
    file.edits.replace(expression.name.getStart(file.sf), expression.name.getEnd(), "Literals")
  }
  file.edits.insertBefore(all[0].getStart(file.sf), "[")
  file.edits.insertAfter(last(all).getEnd(), "]")
}

const strictDuration = (file, { arguments: all }) => {
  for (const one of all) {
    if (kindOf(file.checker.getTypeAtLocation(one)) !== "Duration") {
      around(file, one, `${file.imports.use("effect/Duration")}.fromInputUnsafe(`)
    }
  }
}

const withoutOptions = (file, { arguments: all }, key) => {
  for (const property of all.filter(isObject).flatMap(({ properties }) => [...properties])) {
    if (!Rules.droppedOptions[key].includes(property.name?.getText(file.sf))) continue
    const comma = /^\s*,\s*/.exec(file.sf.text.slice(property.getEnd()))
    file.edits.remove(property.getStart(file.sf), property.getEnd() + (comma?.[0].length ?? 0))
  }
}

/** Their last argument is the value that a function gave. */
const value = (file, { arguments: all }) => {
  const thunk = last(all)
  if (!ts.isArrowFunction(thunk) || ts.isBlock(thunk.body)) return
  file.edits.remove(thunk.getStart(file.sf), thunk.body.getStart(file.sf))
}

/** Their other arguments are no more. */
const unary = (file, { arguments: [first, ...others] }) => {
  if (others.length > 0) file.edits.remove(first.getEnd(), last(others).getEnd())
}

const uncalled = (file, call) => file.edits.remove(call.expression.getEnd(), call.getEnd())

const each = (keys, edit) => Object.fromEntries(keys.map((key) => [key, edit]))

const calls = {
  "Effect.dieMessage": dieMessage,
  "Effect.timeoutFail": timeoutFail,
  "Random.nextIntBetween": nextIntBetween,
  "Schedule.addDelayEffect": addDelay,
  "Schedule.jitteredWith": jitteredWith,
  "Schedule.intersect": combined,
  "Schedule.union": combined,
  "Schedule.upTo": upTo,
  "Schema.Record": record,
  ...each(["Logger.add", "Logger.remove", "Logger.replace"], logger),
  ...each(Object.keys(Rules.provided), provided),
  ...each(Rules.lists, list),
  ...each(Rules.strictDurations, strictDuration),
  ...each(Object.keys(Rules.droppedOptions), withoutOptions),
  ...each(Rules.constantsNow, uncalled),
  ...each(Rules.unaryNow, unary),
  ...each(Rules.valuesNow, value)
}

/** The edits of `new Module.Member(…)`. */
export const convertNew = (file, node) => {
  const key = file.keyOf(node.expression)
  const rule = Rules.reasons[key]
  const [options] = node.arguments ?? []
  if (rule === undefined || !isObject(options)) return
  const property = options.properties.find((one) => one.name?.getText(file.sf) === rule.property)
  const errors = file.imports.use(`effect/http/${key.split(".")[0]}`)
  const open = `${errors}.${rule.error}({ ${rule.property}: new ${errors}.${property.initializer.text}Error(`
  file.edits.replace(node.expression.getStart(file.sf), options.getStart(file.sf), open)
  const comma = /^\s*,\s*/.exec(file.sf.text.slice(property.getEnd()))
  file.edits.remove(property.getStart(file.sf), property.getEnd() + (comma?.[0].length ?? 0))
  file.edits.insertAfter(options.getEnd(), ") }")
}

/** What is rewritten here, and so needs no other rule. */
export const rewritten = new Set([
  ...Object.keys(calls),
  ...Object.keys(curried),
  ...Rules.forks,
  ...Rules.functionsNow
])

/** `queue.unsafeOffer(value)` → `Queue.offerUnsafe(queue, value)`. */
const method = (file, call) => {
  const { expression, name } = call.expression
  const rule = Rules.functions[name.text]?.[ownerOf(file.checker, call.expression)]
  if (rule === undefined) return
  const [module, member] = rule.split(".")
  file.edits.insertBefore(expression.getStart(file.sf), `${file.imports.use(`effect/${module}`)}.${member}(`)
  file.edits.replace(expression.getEnd(), call.arguments[0].getStart(file.sf), ", ")
}

const withoutLastArgument = (file, { arguments: all }) => {
  const dropped = last(all)
  if (dropped === undefined || !Rules.droppedArguments.includes(file.keyOf(dropped))) return
  file.edits.remove(all.length > 1 ? all[all.length - 2].getEnd() : dropped.getStart(file.sf), dropped.getEnd())
}

/** The edits of one call. */
export const convertCall = (file, call) => {
  const key = file.keyOf(call.expression)
  if (ts.isCallExpression(call.expression)) curried[file.keyOf(call.expression.expression)]?.(file, call)
  if (key !== undefined) calls[key]?.(file, call, key)
  else if (ts.isPropertyAccessExpression(call.expression)) method(file, call)
  withoutLastArgument(file, call)
}
