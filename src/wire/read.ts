/**
 * From the bytes of a list to domain values, a piece at a time, so that the event loop is free in between.
 *
 * Not left to protobufjs (the library under `@grpc/proto-loader`): its decoders take a message whole, make every 64-bit
 * integer an object first, and take no notice of a wire type that is not the field's.
 */
import * as Either from "effect/Either"
import { AioWireError } from "../schemas/AioError.js"
import type { Instance } from "../schemas/Instance.js"
import type { Service, ServiceWithInstances } from "../schemas/Service.js"
import type { Decoded } from "./decode.js"
import { badField } from "./errors.js"
import type * as Messages from "./Messages.js"
import { LastText, MAX_TEXT_BYTES, ProtoReader } from "./ProtoReader.js"
import { defaultInstance, defaultService, readInstance, readService, tags } from "./readers.js"
import { instanceOf, serviceOf, serviceWithInstancesOf } from "./records.js"
import { MAX_SKIPS, Skips, tooMany } from "./skips.js"

/** A message that is being read. */
export interface Reading<A> {
  /**
   * Reads on for some kilobytes, well below a millisecond, whatever they hold. Only a text of {@link MAX_TEXT_BYTES}, and what
   * it decodes to, is not divided. `true` when there is nothing left to read. Never throws.
   */
  readonly step: () => boolean
  /** What was read, after the last step. Fails for bytes that are no such message. */
  readonly result: () => Either.Either<Decoded<A>, AioWireError>
}

/** A `ServiceWithInstances`, read in part. What its instances lack is reported only if its service decodes. */
interface Entry {
  service: Messages.Service | null
  /** A text of the service that is too long. */
  tooLong: string | undefined
  readonly instances: Array<Instance>
  readonly skips: Skips
}

const newEntry = (): Entry => ({ service: null, tooLong: undefined, instances: [], skips: new Skips() })

const TEXT_TOO_LONG = `expected at most ${MAX_TEXT_BYTES / 1024} KiB`

const { instances: INSTANCE, service: SERVICE } = tags.ServiceWithInstances

/** Reads on in an entry: one field, or one record as far as the reader is to read on. `true` at the end of a record. */
const entryReader = (reader: ProtoReader) => {
  // One record for all instances, written over: what is kept of it is copied.
  const instance = { ...defaultInstance }
  const last = { env: new LastText(), meta_json: new LastText() }
  let service: { -readonly [K in keyof Messages.Service]: Messages.Service[K] } | undefined
  let isInRecord = false
  let entryEnd = 0

  const endRecord = (entry: Entry): void => {
    const tooLong = reader.tooLong
    reader.tooLong = undefined
    if (service !== undefined) {
      entry.service = service
      entry.tooLong = tooLong
      service = undefined
    } else if (tooLong !== undefined) {
      entry.skips.add("Instance", tooLong, "more", TEXT_TOO_LONG)
    } else {
      const decoded = instanceOf(instance, entry.skips)
      if (decoded !== undefined) entry.instances.push(decoded)
    }
  }

  return (entry: Entry): boolean => {
    if (!isInRecord) {
      const tag = reader.tag()
      if (tag === INSTANCE) Object.assign(instance, defaultInstance)
      else if (tag === SERVICE) service = { ...defaultService }
      else {
        reader.skip(tag)
        return false
      }
      entryEnd = reader.enter()
      isInRecord = true
    }
    if (service === undefined) readInstance(reader, instance, last)
    else readService(reader, service)
    if (reader.position < reader.end) return false
    isInRecord = false
    reader.end = entryEnd
    endRecord(entry)
    return true
  }
}

const STEP_BYTES = 16 * 1024

/** So many bytes cost as much as the end of a record: the smallest have two. */
const RECORD_BYTES = 256

/** Four times what a list within the receive limit has, unless its records are made small: 64 MiB of these are gigabytes of objects. */
const MAX_RECORDS = 1_000_000
const TOO_MANY_RECORDS = `expected at most ${MAX_RECORDS} records`

/** Reads the `ServiceWithInstances` that are the fields `entryTag` of a message. */
const readEntries = <A>(
  protoMessage: string,
  entryTag: number,
  bytes: Buffer,
  onEntry: (entry: Either.Either<ServiceWithInstances, AioWireError>, skips: Skips) => void,
  result: (skips: Skips) => ReturnType<Reading<A>["result"]>
): Reading<A> => {
  const reader = new ProtoReader(bytes)
  const readOnIn = entryReader(reader)
  /** Of the entries that have ended. */
  const skips = new Skips()
  let entry: Entry | undefined
  let records = 0
  let failure: AioWireError | undefined

  const endEntry = (ended: Entry): void => {
    const own = new Skips()
    const decoded = serviceOfEntry(ended, own)
    own.addAll(ended.skips)
    if (Either.isRight(decoded)) skips.addAll(own)
    else skips.addError(decoded.left)
    onEntry(
      Either.map(decoded, (service) => ({ service, instances: ended.instances })),
      own
    )
    entry = undefined
    reader.end = bytes.length
  }

  const readField = (): void => {
    const before = skips.total + (entry?.skips.total ?? 0)
    if (entry === undefined) {
      const tag = reader.tag()
      if (tag !== entryTag) {
        reader.skip(tag)
        return
      }
      entry = newEntry()
      reader.enter()
    } else if (reader.position === reader.end) endEntry(entry)
    else if (!readOnIn(entry)) return
    // Here a record or an entry began or ended. To leave one out costs so much that it ends the step.
    const after = skips.total + (entry?.skips.total ?? 0)
    reader.pauseAt = after > before ? reader.position : reader.pauseAt - RECORD_BYTES
    if (after > MAX_SKIPS) failure = tooMany(protoMessage, skips.first ?? entry?.skips.first)
    else if (++records > MAX_RECORDS) failure = badField(protoMessage, "(message)", "more", TOO_MANY_RECORDS)
  }

  const readOn = (): boolean => {
    reader.pauseAt = reader.position + STEP_BYTES
    while (reader.position < reader.pauseAt && failure === undefined) {
      if (entry === undefined && reader.position === bytes.length) return true
      readField()
    }
    return failure !== undefined
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
    result: () => (failure === undefined ? result(skips) : Either.left(failure))
  }
}

const serviceOfEntry = ({ service, tooLong }: Entry, skips: Skips): Either.Either<Service, AioWireError> =>
  tooLong === undefined ? serviceOf(service, skips) : Either.left(badField("Service", tooLong, "more", TEXT_TOO_LONG))

/** Reads a `ListServicesResponse`. Gives what `decodeListServices` gives of the same message. */
export const readListServices = (bytes: Buffer): Reading<ReadonlyArray<ServiceWithInstances>> => {
  const value: Array<ServiceWithInstances> = []
  return readEntries(
    "ListServicesResponse",
    tags.ListServicesResponse.services,
    bytes,
    (entry) => {
      if (Either.isRight(entry)) value.push(entry.right)
    },
    (skipped) => Either.right({ value, skipped })
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
    (skipped) => last ?? Either.map(serviceWithInstancesOf(null, skipped), (value) => ({ value, skipped }))
  )
}
