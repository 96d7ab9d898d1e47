import { Either } from "effect"
import * as Methods from "../../src/grpc/Methods.js"
import type { AioWireError } from "../../src/schemas/AioError.js"
import type * as Wire from "../../src/wire/Wire.js"

/** The bytes of an answer, as a server of `@grpc/proto-loader` writes them. */
const encode = (rpc: string) => {
  const definition = Methods.serviceDefinition(Methods.serviceNames.registry)[rpc]
  if (definition === undefined) throw new Error(`no rpc ${rpc}`)
  return (answer: object): Buffer => definition.responseSerialize(answer)
}

export const encodeList = encode("ListServices")
export const encodeGet = encode("GetServiceByID")

/** Reads to the end, without a pause. */
export const readAll = <A>(reading: Wire.Reading<A>): Either.Either<Wire.Decoded<A>, AioWireError> => {
  while (!reading.step()) {}
  return reading.result()
}

const told = ({ actual, field, problem, protoMessage }: AioWireError) => ({ actual, field, problem, protoMessage })

/** What can be compared: a value, how many parts of which fields were left out, and the first of them. */
export const shown = <A>(decoded: Either.Either<Wire.Decoded<A>, AioWireError>) =>
  Either.mapBoth(decoded, {
    onLeft: told,
    onRight: ({ skipped: { fields, first, total }, value }) => ({
      value,
      skipped: { fields, total, first: first && told(first) }
    })
  })
