/**
 * From the bytes of a list to domain values, a piece at a time, so that whoever reads a large one can leave the event loop
 * free in between.
 *
 * Written by hand for three messages rather than left to protobufjs (the library under `@grpc/proto-loader`): its generated
 * decoders take a message whole, make every 64-bit integer an object first, and take no notice of a wire type that is not
 * the field's. This needs no dependency, and stops wherever it is asked to.
 */
import * as Either from "effect/Either"
import { AioWireError } from "../schemas/AioError.js"
import type { Instance } from "../schemas/Instance.js"
import type { ServiceWithInstances } from "../schemas/Service.js"
import type { Decoded } from "./decode.js"
import type * as Messages from "./Messages.js"
import { LastText, ProtoReader } from "./ProtoReader.js"
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

type Mutable<A> = { -readonly [K in keyof A]: A[K] }

const VARINT = 0
const BYTES = 2

// A known field of another wire type than its own is an unknown field: so is the format defined.
const readService = (reader: ProtoReader): Messages.Service => {
  const service: Mutable<Messages.Service> = {
    id: "0",
    project: "",
    name: "",
    owner: "",
    description: "",
    spec_json: "",
    created_at: "0",
    updated_at: "0"
  }
  while (reader.position < reader.end) {
    const tag = reader.tag()
    switch (tag) {
      case (1 << 3) | VARINT:
        service.id = reader.int64()
        break
      case (2 << 3) | BYTES:
        service.project = reader.text()
        break
      case (3 << 3) | BYTES:
        service.name = reader.text()
        break
      case (4 << 3) | BYTES:
        service.owner = reader.text()
        break
      case (5 << 3) | BYTES:
        service.description = reader.text()
        break
      case (6 << 3) | BYTES:
        service.spec_json = reader.text()
        break
      case (7 << 3) | VARINT:
        service.created_at = reader.int64()
        break
      case (8 << 3) | VARINT:
        service.updated_at = reader.int64()
        break
      default:
        reader.skip(tag)
    }
  }
  return service
}

const noInstance: Messages.Instance = {
  id: "0",
  service_id: "0",
  instance_key: "",
  env: "",
  host: "",
  endpoint: "",
  meta_json: "",
  ttl_seconds: "0",
  last_heartbeat_at: "0",
  created_at: "0",
  endpoints_json: "",
  http_port: "0",
  grpc_port: "0",
  updated_at: "0"
}

/** Gives one and the same record each time, written over: whoever wants to keep anything of it copies it. */
const instanceReader = (): ((reader: ProtoReader) => Messages.Instance) => {
  const instance: Mutable<Messages.Instance> = { ...noInstance }
  const env = new LastText()
  const meta = new LastText()
  return (reader) => {
    Object.assign(instance, noInstance)
    while (reader.position < reader.end) {
      const tag = reader.tag()
      switch (tag) {
        case (1 << 3) | VARINT:
          instance.id = reader.int64()
          break
        case (2 << 3) | VARINT:
          instance.service_id = reader.int64()
          break
        case (3 << 3) | BYTES:
          instance.instance_key = reader.text()
          break
        case (4 << 3) | BYTES:
          instance.env = reader.textLike(env)
          break
        case (5 << 3) | BYTES:
          instance.host = reader.text()
          break
        case (6 << 3) | BYTES:
          instance.endpoint = reader.text()
          break
        case (7 << 3) | BYTES:
          instance.meta_json = reader.textLike(meta)
          break
        case (8 << 3) | VARINT:
          instance.ttl_seconds = reader.int64()
          break
        case (9 << 3) | VARINT:
          instance.last_heartbeat_at = reader.int64()
          break
        case (10 << 3) | VARINT:
          instance.created_at = reader.int64()
          break
        case (11 << 3) | BYTES:
          instance.endpoints_json = reader.text()
          break
        case (12 << 3) | VARINT:
          instance.http_port = reader.int64()
          break
        case (13 << 3) | VARINT:
          instance.grpc_port = reader.int64()
          break
        case (14 << 3) | VARINT:
          instance.updated_at = reader.int64()
          break
        default:
          reader.skip(tag)
      }
    }
    return instance
  }
}

/** Reads a nested message that begins here, and goes on behind it. */
const nested = <A>(reader: ProtoReader, read: (reader: ProtoReader) => A): A => {
  const outer = reader.end
  reader.end = reader.nestedEnd()
  const message = read(reader)
  reader.end = outer
  return message
}

/** A `ServiceWithInstances` of which some has been read. What its instances lack is told only if its service is any good. */
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

const readEntryField = (
  reader: ProtoReader,
  entry: Entry,
  readInstance: (reader: ProtoReader) => Messages.Instance
): void => {
  const tag = reader.tag()
  if (tag === ((1 << 3) | BYTES)) {
    entry.service = nested(reader, readService)
  } else if (tag === ((2 << 3) | BYTES)) {
    const instance = instanceOf(nested(reader, readInstance), entry.skip)
    if (instance !== undefined) entry.instances.push(instance)
  } else {
    reader.skip(tag)
  }
}

const STEP_BYTES = 8 * 1024

/** Both answers are read alike: field 1 is a `ServiceWithInstances`, in the one repeated, in the other not. */
const readEntries = (
  protoMessage: string,
  bytes: Buffer,
  onEntry: (entry: Either.Either<ServiceWithInstances, AioWireError>, skipped: ReadonlyArray<AioWireError>) => void
) => {
  const reader = new ProtoReader(bytes)
  const readInstance = instanceReader()
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
        if (reader.position < reader.end) readEntryField(reader, entry, readInstance)
        else endEntry(entry)
      } else if (reader.position < bytes.length) {
        const tag = reader.tag()
        if (tag === ((1 << 3) | BYTES)) {
          entry = newEntry()
          reader.end = reader.nestedEnd()
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
    step: (): boolean => {
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
    failure: () => failure
  }
}

/** Reads a `ListServicesResponse`. Gives what `decodeListServices` gives of the same message. */
export const readListServices = (bytes: Buffer): Reading<ReadonlyArray<ServiceWithInstances>> => {
  const services: Array<ServiceWithInstances> = []
  const skipped: Array<AioWireError> = []
  const { failure, step } = readEntries("ListServicesResponse", bytes, (entry, left) => {
    if (Either.isLeft(entry)) return void skipped.push(entry.left)
    services.push(entry.right)
    for (const error of left) skipped.push(error)
  })
  return {
    step,
    result: () => {
      const failed = failure()
      return failed === undefined ? Either.right({ value: services, skipped }) : Either.left(failed)
    }
  }
}

/** Reads a `GetServiceByIDResponse`. Gives what `decodeGetServiceByID` gives of the same message. */
export const readGetServiceByID = (bytes: Buffer): Reading<ServiceWithInstances> => {
  let last: Either.Either<Decoded<ServiceWithInstances>, AioWireError> | undefined
  const { failure, step } = readEntries("GetServiceByIDResponse", bytes, (entry, skipped) => {
    last = Either.map(entry, (value) => ({ value, skipped }))
  })
  return {
    step,
    result: () => {
      const failed = failure()
      if (failed !== undefined) return Either.left(failed)
      return (
        last ??
        Either.map(
          serviceWithInstancesOf(null, () => {}),
          (value) => ({ value, skipped: [] })
        )
      )
    }
  }
}
