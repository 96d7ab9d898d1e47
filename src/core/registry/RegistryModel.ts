/**
 * What a registry holds, and how it answers: services, instances with leases, and what an operator may do to them. The
 * rules are those of the AIO control plane as it was recorded, its quirks included.
 *
 * Pure and synchronous: time and keys are handed in. A lease has no timer; whether it has run out is found when it is
 * read.
 */
import * as Either from "effect/Either"
import type { LeaseKey } from "../../schemas/Ids.js"
import * as Limits from "../../schemas/Limits.js"
import * as PlaneLimits from "../../schemas/PlaneLimits.js"
import type * as Messages from "../../wire/Messages.js"
import { DeadKeys } from "./DeadKeys.js"
import * as GoJson from "./GoJson.js"
import * as ServerErrors from "./ServerErrors.js"

type Failure = ServerErrors.Failure
type CheckedLimits = PlaneLimits.CheckedLimits

/**
 * The quirks of the real server that can be turned off.
 *
 * - `deadKeys` (default `true`): a key whose record was deleted, by an operator or by `DeregisterInstance`, is never
 *   revived. Registering it succeeds and lists it for one TTL, but every heartbeat answers 0.
 *
 * @since 0.1.0
 * @category models
 */
export interface Quirks {
  readonly deadKeys?: boolean | undefined
}

interface InstanceRecord {
  readonly id: string
  readonly firstSeenAt: number
  request: RegisteredFields
  ttlMillis: number
  /** 0 where the lease was ended. */
  leasedUntil: number
  lastHeartbeatAt: number
  shownCreatedAt: number
  deleted: boolean
  /** As listed; built when it is next asked for. */
  wire: Messages.Instance | undefined
}

type RegisteredFields = Omit<Messages.Instance, "id" | "service_id" | "last_heartbeat_at" | "created_at" | "updated_at">

interface ServiceRecord {
  readonly wire: Messages.Service
  readonly instances: Map<string, InstanceRecord>
  deleted: boolean
}

const isPositive = (id: string | undefined): id is string => id !== undefined && BigInt(id) > 0n
const seconds = (millis: number): string => String(Math.floor(millis / 1_000))
const nameKey = (project: string, name: string): string => `${project}\u0000${name}`

const DEFAULT_TTL = "60"

/** The server counts in 64-bit nanoseconds: beyond 292 years a lease overflows into the past. */
const ttlMillis = (ttlSeconds: string): number =>
  Number(BigInt.asIntN(64, BigInt(ttlSeconds) * 1_000_000_000n) / 1_000_000n)

const isOnline = (instance: InstanceRecord, now: number): boolean => now < instance.leasedUntil

const wireInstance = (serviceId: string, instance: InstanceRecord): Messages.Instance => {
  instance.wire ??= {
    id: instance.id,
    service_id: serviceId,
    ...instance.request,
    last_heartbeat_at: seconds(instance.lastHeartbeatAt),
    created_at: seconds(instance.shownCreatedAt),
    updated_at: seconds(instance.lastHeartbeatAt)
  }
  return instance.wire
}

const withInstances = (service: ServiceRecord, env: string, now: number): Messages.ServiceWithInstances => {
  const instances: Array<Messages.Instance> = []
  for (const instance of service.instances.values()) {
    if (isOnline(instance, now) && (env === "" || instance.request.env === env)) {
      instances.push(wireInstance(service.wire.id, instance))
    }
  }
  return { service: service.wire, instances }
}

const registeredFields = (
  request: Messages.RegisterInstanceRequest,
  newKey: () => string,
  limits: CheckedLimits
): Either.Either<RegisteredFields, Failure> => {
  const { endpoint = "", endpoints_json = "", env = "", grpc_port = "0", host = "", http_port = "0" } = request
  const { instance_key = "", meta_json = "" } = request
  const tooLong =
    PlaneLimits.longer("instance_key", instance_key, "instanceKeyBytes", limits) ??
    PlaneLimits.longer("meta_json", meta_json, "jsonBytes", limits) ??
    PlaneLimits.longer("endpoints_json", endpoints_json, "jsonBytes", limits)
  if (tooLong !== undefined) return tooLong
  if (!isPositive(request.service_id)) return ServerErrors.invalid("service_id 不能为空")
  if (host === "") return ServerErrors.invalid("host 不能为空")
  if (endpoint === "" && endpoints_json === "") return ServerErrors.invalid("必须提供 endpoint 或 endpoints")
  const endpoints = endpoints_json === "" ? Either.right("") : GoJson.endpoints(endpoints_json, limits.endpoints)
  if (Either.isLeft(endpoints)) {
    return endpoints.left === "malformed"
      ? ServerErrors.invalid("endpoints_json 格式错误")
      : PlaneLimits.exceeded("endpoints_json has too many endpoints", "endpoints", limits)
  }
  if (env === "") return ServerErrors.invalidWithTrace("env 不能为空")
  return Either.right({
    instance_key: instance_key === "" ? newKey() : instance_key,
    env,
    host,
    endpoint,
    meta_json: GoJson.object(meta_json),
    ttl_seconds: isPositive(request.ttl_seconds) ? request.ttl_seconds : DEFAULT_TTL,
    endpoints_json: endpoints.right,
    http_port,
    grpc_port
  })
}

const HOUR = 60 * 60 * 1_000
const DAY = 24 * HOUR
// All records are looked at in this time, whatever is asked.
const SWEEP_TIME = 10 * 60 * 1_000
// A millisecond of work: after a silence it takes more calls.
const MOST_SWEPT = 10_000

const jsonOf = ({ request }: InstanceRecord): number => request.meta_json.length + request.endpoints_json.length

// A lease counts for a day at most, though it may have been asked for a thousand years.
const endOf = ({ lastHeartbeatAt, leasedUntil }: InstanceRecord): number =>
  Math.max(lastHeartbeatAt, Math.min(leasedUntil, lastHeartbeatAt + DAY))

interface Registering {
  readonly now: number
  readonly newKey: () => string
}

/** The first id of a registry that starts now is behind this: so one that has lost its memory gives none out again. */
export const idsBefore = (now: number): number => Math.floor(now / 1_000) * 1_000

/**
 * Begins empty, and counts ids from `idsBefore` on. `now` is in milliseconds since the epoch; `newKey` makes a key where a
 * registration has none.
 */
export class RegistryModel {
  private readonly services = new Map<string, ServiceRecord>()
  private readonly byName = new Map<string, ServiceRecord>()
  private readonly deadKeys: boolean
  private readonly limits: CheckedLimits
  private readonly dead = new DeadKeys()
  private readonly sweeping = this.sweep()
  private now = 0
  /** The services and instances when the sweep began anew. */
  private toSweep = 0
  private instances = 0
  private json = 0
  private lastServiceId: number
  private lastInstanceId: number
  /** While `true`, every heartbeat answers 0 and every other call is `INTERNAL`. Nothing is lost. */
  isDatabaseDown = false

  constructor({ deadKeys = true }: Quirks = {}, idsBefore = 0, limits: CheckedLimits = PlaneLimits.standard) {
    this.deadKeys = deadKeys
    this.limits = limits
    this.lastServiceId = idsBefore
    this.lastInstanceId = idsBefore
  }

  ensure(request: Messages.EnsureServiceRequest, now: number): Either.Either<Messages.EnsureServiceResponse, Failure> {
    const { project = "", name = "", owner = "", description = "", spec_json = "" } = request
    const tooLong = PlaneLimits.longer("spec_json", spec_json, "jsonBytes", this.limits)
    if (tooLong !== undefined) return tooLong
    if (project === "") return ServerErrors.invalid("project 不能为空")
    if (name === "") return ServerErrors.invalid("name 不能为空")
    if (this.isDatabaseDown) return ServerErrors.databaseIsDown()
    const known = this.byName.get(nameKey(project, name))
    if (known !== undefined) {
      // The deleted row still holds its place in the unique index, where no query sees it.
      return known.deleted ? ServerErrors.duplicateService() : Either.right({ service: known.wire, created: false })
    }
    const { maxLength: max } = Limits
    const problem = ServerErrors.misfit([
      [project, max.project],
      [name, max.name],
      [owner, max.owner],
      [description, max.description]
    ])
    if (problem !== undefined) return ServerErrors.database(problem)
    if (this.services.size >= this.limits.services) {
      return PlaneLimits.exceeded("there are too many services", "services", this.limits)
    }
    const json = GoJson.object(spec_json)
    const tooMuch = this.hold(json.length)
    if (tooMuch !== undefined) return tooMuch
    const created: ServiceRecord = {
      wire: {
        id: String(++this.lastServiceId),
        project,
        name,
        owner,
        description,
        spec_json: json,
        created_at: seconds(now),
        updated_at: seconds(now)
      },
      instances: new Map(),
      deleted: false
    }
    this.services.set(created.wire.id, created)
    this.byName.set(nameKey(project, name), created)
    return Either.right({ service: created.wire, created: true })
  }

  register(
    request: Messages.RegisterInstanceRequest,
    { newKey, now }: Registering
  ): Either.Either<Messages.RegisterInstanceResponse, Failure> {
    const registered = registeredFields(request, newKey, this.limits)
    if (Either.isLeft(registered)) return Either.left(registered.left)
    const fields = registered.right
    if (this.isDatabaseDown) return ServerErrors.databaseIsDown()
    this.forgetSome(now)
    const service = this.shownService(request.service_id)
    if (service === undefined) return ServerErrors.notFound()
    const { maxLength: max } = Limits
    const problem = ServerErrors.misfit([
      [fields.instance_key, max.instanceKey],
      [fields.env, max.env],
      [fields.host, max.host],
      [fields.endpoint, max.endpoint]
    ])
    if (problem !== undefined) return ServerErrors.internal(problem)
    const known = service.instances.get(fields.instance_key)
    if (known === undefined && this.instances >= this.limits.instances) {
      return PlaneLimits.exceeded("there are too many instances", "instances", this.limits)
    }
    const json = fields.meta_json.length + fields.endpoints_json.length
    const tooMuch = this.hold(json - (known === undefined ? 0 : jsonOf(known)))
    if (tooMuch !== undefined) return tooMuch
    const dead = this.dead.find(nameKey(service.wire.id, fields.instance_key), now)
    const ttl = ttlMillis(fields.ttl_seconds)
    if (known === undefined) this.instances++
    service.instances.set(fields.instance_key, {
      id: (known ?? dead)?.id ?? String(++this.lastInstanceId),
      firstSeenAt: (known ?? dead)?.firstSeenAt ?? now,
      request: fields,
      ttlMillis: ttl,
      leasedUntil: now + ttl,
      lastHeartbeatAt: now,
      shownCreatedAt: now,
      deleted: dead !== undefined,
      wire: undefined
    })
    return Either.right({ instance_key: fields.instance_key, expires_at: seconds(now + ttl) })
  }

  private hold(more: number): Either.Either<never, Failure> | undefined {
    if (more > 0 && this.json + more > this.limits.totalJson) {
      return PlaneLimits.exceeded("services and instances hold too much JSON", "totalJson", this.limits)
    }
    this.json += more
    return undefined
  }

  private get records(): number {
    return this.services.size + this.instances
  }

  /** Forgets, one record after the other and for ever, what ended an hour ago: a thread must not walk a million at once. */
  private *sweep(): Generator<void, never> {
    while (true) {
      this.toSweep = this.records
      yield
      for (const service of this.services.values()) {
        yield
        for (const [key, instance] of service.instances) {
          if (this.now - endOf(instance) > HOUR) this.forget(service, key, instance)
          yield
        }
      }
    }
  }

  private forgetSome(now: number): void {
    const most = Math.max(this.toSweep, this.records)
    const due = Math.min(Math.ceil((most * (now - this.now)) / SWEEP_TIME), MOST_SWEPT)
    this.now = now
    for (let i = 0; i < due; i++) this.sweeping.next()
  }

  private forget(service: ServiceRecord, key: string, instance: InstanceRecord): void {
    service.instances.delete(key)
    this.instances--
    this.json -= jsonOf(instance)
  }

  /** Never refused: what was not renewed is answered with 0, and so is a lease that ended more than an hour ago. */
  renew(request: Messages.HeartbeatRequest, now: number): Messages.HeartbeatResponse {
    this.forgetSome(now)
    const instance = this.instance(request.service_id, request.instance_key)
    if (instance === undefined || instance.deleted || this.isDatabaseDown) return { expires_at: "0" }
    instance.leasedUntil = now + instance.ttlMillis
    instance.lastHeartbeatAt = now
    instance.shownCreatedAt = instance.firstSeenAt
    instance.wire = undefined
    return { expires_at: seconds(instance.leasedUntil) }
  }

  deregister(
    request: Messages.DeregisterInstanceRequest,
    now: number
  ): Either.Either<Messages.DeregisterInstanceResponse, Failure> {
    const { instance_key: instanceKey = "", service_id: serviceId } = request
    const tooLong = PlaneLimits.longer("instance_key", instanceKey, "instanceKeyBytes", this.limits)
    if (tooLong !== undefined) return tooLong
    if (!isPositive(serviceId)) return ServerErrors.invalid("service_id 不能为空")
    if (instanceKey === "") return ServerErrors.invalid("instance_key 不能为空")
    if (this.isDatabaseDown) return ServerErrors.databaseIsDown()
    this.deleteInstance({ serviceId, instanceKey }, now)
    return Either.right({ success: true, message: "实例已下线" })
  }

  list(request: Messages.ListServicesRequest, now: number): Either.Either<Messages.ListServicesResponse, Failure> {
    return this.isDatabaseDown ? ServerErrors.databaseIsDown() : Either.right(this.snapshot(now, request))
  }

  get(request: Messages.GetServiceByIDRequest, now: number): Either.Either<Messages.GetServiceByIDResponse, Failure> {
    if (!isPositive(request.id)) return ServerErrors.invalid("id 不能为空")
    if (this.isDatabaseDown) return ServerErrors.databaseIsDown()
    const service = this.shownService(request.id)
    return service === undefined ? ServerErrors.notFound() : Either.right({ service: withInstances(service, "", now) })
  }

  /** The services with their online instances, whatever state the database is in. */
  snapshot(now: number, { env = "", project = "" }: Messages.ListServicesRequest = {}): Messages.ListServicesResponse {
    const services: Array<Messages.ServiceWithInstances> = []
    for (const service of this.services.values()) {
      if (!service.deleted && (project === "" || service.wire.project === project)) {
        services.push(withInstances(service, env, now))
      }
    }
    return { services: services.reverse(), total: services.length }
  }

  private shownService(id = ""): ServiceRecord | undefined {
    const service = this.services.get(id)
    return service?.deleted === true ? undefined : service
  }

  private instance(serviceId = "", instanceKey = ""): InstanceRecord | undefined {
    return this.services.get(serviceId)?.instances.get(instanceKey)
  }

  // What an operator does. Keys and ids that do not exist are ignored.

  /** Takes an instance off the lists at once, as if its lease had run out. The next heartbeat brings it back. */
  endLease(key: LeaseKey): void {
    const instance = this.instance(key.serviceId, key.instanceKey)
    if (instance !== undefined) instance.leasedUntil = 0
  }

  /** Deletes an instance's record: its heartbeats answer 0, and with `deadKeys` no registration changes that. */
  deleteInstance(key: { readonly serviceId: string; readonly instanceKey: string }, now: number): void {
    const service = this.services.get(key.serviceId)
    const instance = service?.instances.get(key.instanceKey)
    if (service === undefined || instance === undefined) return
    this.forget(service, key.instanceKey, instance)
    if (this.deadKeys) this.dead.add(nameKey(key.serviceId, key.instanceKey), instance, now)
  }

  /**
   * Deletes a service: no list shows it, registering in it is `NOT_FOUND`, ensuring its name is `INTERNAL` for ever. The
   * heartbeats of its instances still answer as if nothing had happened.
   */
  deleteService(serviceId: string): void {
    const service = this.services.get(serviceId)
    if (service !== undefined) service.deleted = true
  }

  /** Forgets everything, as a server with a new database. Ids go on counting. */
  clear(): void {
    this.services.clear()
    this.byName.clear()
    this.dead.clear()
    this.instances = 0
    this.json = 0
  }
}
