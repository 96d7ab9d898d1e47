/**
 * From the bytes of a list to domain values, a piece at a time, so that the event loop is free in between.
 *
 * Not left to protobufjs (the library under `@grpc/proto-loader`): its decoders take a message whole, make every 64-bit
 * integer an object first, and take no notice of a wire type that is not the field's.
 */
import * as Either from "effect/Either"
import { AioWireError } from "../schemas/AioError.js"
import type { Instance } from "../schemas/Instance.js"
import type { ServiceWithInstances } from "../schemas/Service.js"
import type { Decoded } from "./decode.js"
import type * as Messages from "./Messages.js"
import { LastText, ProtoReader } from "./ProtoReader.js"
import { defaultInstance, defaultService, readInstance, readService, tags } from "./readers.js"
import { instanceOf, serviceOf, serviceWithInstancesOf } from "./records.js"

/** A message that is being read. */
export interface Reading<A> {
  /**
   * Reads on for some kilobytes, well below a millisecond, but one instance at least, whatever its size. `true` when there
   * is nothing left to read. Never throws.
   */
  readonly step: () => boolean
  /** What was read, after the last step. Fails for bytes that are no such message. */
  readonly result: () => Either.Either<Decoded<A>, AioWireError>
}

/** A `ServiceWithInstances`, read in part. What its instances lack is reported only if its service decodes. */
interface Entry {
  service: Messages.Service | null
  readonly instances: Array<Instance>
  readonly skipped: Array<AioWireError>
  readonly skip: (error: AioWireError) => void
}

const newEntry = (): Entry => {
  const skipped: Array<AioWireError> = []
  return { service: null, instances: [], skipped, skip: (error) => void skipped.push(error) }
}

const { instances: INSTANCE, service: SERVICE } = tags.ServiceWithInstances

const fieldReader = (reader: ProtoReader) => {
  // One record for all instances, written over: what is kept of it is copied.
  const instance = { ...defaultInstance }
  const last = { env: new LastText(), meta_json: new LastText() }
  return (entry: Entry): void => {
    const tag = reader.tag()
    if (tag === INSTANCE) {
      Object.assign(instance, defaultInstance)
      readInstance(reader, instance, last)
      const decoded = instanceOf(instance, entry.skip)
      if (decoded !== undefined) entry.instances.push(decoded)
    } else if (tag === SERVICE) {
      const service = { ...defaultService }
      readService(reader, service)
      entry.service = service
    } else {
      reader.skip(tag)
    }
  }
}

const STEP_BYTES = 8 * 1024

/** Reads the `ServiceWithInstances` that are the fields `entryTag` of a message. */
const readEntries = <A>(
  protoMessage: string,
  entryTag: number,
  bytes: Buffer,
  onEntry: (entry: Either.Either<ServiceWithInstances, AioWireError>, skipped: ReadonlyArray<AioWireError>) => void,
  result: Reading<A>["result"]
): Reading<A> => {
  const reader = new ProtoReader(bytes)
  const readField = fieldReader(reader)
  let entry: Entry | undefined
  let failure: AioWireError | undefined

  const endEntry = ({ instances, service, skipped }: Entry): void => {
    const all: Array<AioWireError> = []
    const decoded = serviceOf(service, (error) => void all.push(error))
    for (const error of skipped) all.push(error)
    onEntry(
      Either.map(decoded, (service) => ({ service, instances })),
      all
    )
    entry = undefined
    reader.end = bytes.length
  }

  const readOn = (): boolean => {
    const pauseAt = reader.position + STEP_BYTES
    while (reader.position < pauseAt) {
      if (entry !== undefined) {
        if (reader.position < reader.end) readField(entry)
        else endEntry(entry)
      } else if (reader.position < bytes.length) {
        const tag = reader.tag()
        if (tag === entryTag) {
          entry = newEntry()
          reader.enter()
        } else {
          reader.skip(tag)
        }
      } else {
        return true
      }
    }
    return false
  }

  return {
    step: () => {
      try {
        return readOn()
      } catch (cause) {
        failure = new AioWireError({
          protoMessage,
          field: "(bytes)",
          actual: `${bytes.length} bytes that are no such message`,
          problem: cause instanceof Error ? `not valid protobuf: ${cause.message}` : "not valid protobuf",
          cause
        })
        return true
      }
    },
    result: () => (failure === undefined ? result() : Either.left(failure))
  }
}

/** Reads a `ListServicesResponse`. Gives what `decodeListServices` gives of the same message. */
export const readListServices = (bytes: Buffer): Reading<ReadonlyArray<ServiceWithInstances>> => {
  const value: Array<ServiceWithInstances> = []
  const skipped: Array<AioWireError> = []
  return readEntries(
    "ListServicesResponse",
    tags.ListServicesResponse.services,
    bytes,
    (entry, left) => {
      if (Either.isLeft(entry)) return void skipped.push(entry.left)
      value.push(entry.right)
      for (const error of left) skipped.push(error)
    },
    () => Either.right({ value, skipped })
  )
}

/** Reads a `GetServiceByIDResponse`. Gives what `decodeGetServiceByID` gives of the same message. */
export const readGetServiceByID = (bytes: Buffer): Reading<ServiceWithInstances> => {
  let last: Either.Either<Decoded<ServiceWithInstances>, AioWireError> | undefined
  return readEntries(
    "GetServiceByIDResponse",
    tags.GetServiceByIDResponse.service,
    bytes,
    (entry, skipped) => {
      last = Either.map(entry, (value) => ({ value, skipped }))
    },
    // Made only for an answer without a service: a decoding that fails costs as much as a whole call.
    () =>
      last ??
      Either.map(
        serviceWithInstancesOf(null, () => {}),
        (value) => ({ value, skipped: [] })
      )
  )
}
