/** What this process knows about one project in one env. */
import { atOnce } from "../../internal/atOnce.js"
import type { Instance } from "../../schemas/Instance.js"
import type { ServiceWithInstances } from "../../schemas/Service.js"
import * as ViewTuning from "../../schemas/ViewTuning.js"
import * as ServiceView from "./ServiceView.js"

/** Never changed in place. All instants are monotonic milliseconds. */
export interface View {
  readonly project: string
  readonly env: string
  /** When the last list of the whole project arrived; `undefined` while there was none. */
  readonly listedAt: number | undefined
  /** Has the registry, or a snapshot, ever shown a service? */
  readonly hadServices: boolean
  readonly services: ReadonlyMap<string, ServiceView.ServiceView>
}

/** Nothing is known yet. */
export const empty = (project: string, env: string): View => ({
  project,
  env,
  listedAt: undefined,
  hadServices: false,
  services: new Map()
})

/** The service of exactly this name, or `undefined`. */
export const find = (view: View, name: string): ServiceView.ServiceView | undefined => view.services.get(name)

/** A view after an answer, and the names of the services in which an instance came, went or changed. */
export type Merged = readonly [view: View, changed: ReadonlySet<string>]

export interface MergeOptions {
  /** The services that were asked for; the others stay as they are. The whole project unless given. */
  readonly asked?: ReadonlySet<string> | undefined
  /** Has this process deregistered it since the registry was asked? Then the answer is out of date for it. */
  readonly hasLeft?: ((instance: Instance) => boolean) | undefined
  readonly limits?: ServiceView.HoldLimits | undefined
}

/**
 * A merge in steps, so that a long answer can be taken in slices. `step` gets the view as it is by then, and tells whether all
 * is taken, also what has left the view since it was asked last; so does `finish`, which must follow: what has left the view
 * between the steps stays away.
 */
export interface Merging {
  readonly step: (view: View) => boolean
  readonly finish: (view: View) => Merged
}

/**
 * Takes an answer of the registry, which arrived at `now`.
 *
 * Additions apply at once. Services of other projects and instances of other envs are left out. A record that is older than
 * the known one, by `updatedAt` and then by `lastHeartbeatAt`, comes from a replica that lags and does not replace it, unless
 * all answers of 5 minutes have had it. The same rule decides between two records of one key; of two services of one name
 * the newer one counts.
 *
 * A missing instance is gone, with one exception. A service that shrinks to nothing, or to less than half, is not believed at
 * once: a registry whose cache was restarted lists only the instances that have sent a heartbeat since. The missing ones are
 * held. A held one is dropped when two further answers, 10 seconds apart or more, lack it too, and its TTL (5 minutes at
 * most) has passed since the last answer that showed it: its lease has run out then. After 5 minutes the next answer that
 * lacks it is enough.
 */
export const merge = (
  view: View,
  answer: ReadonlyArray<ServiceWithInstances>,
  now: number,
  options?: MergeOptions
): Merged => {
  const merging = begin(view, answer, now, options)
  while (!merging.step(view));
  return merging.finish(view)
}

/** {@link merge}, a few hundred instances a step. */
export const begin = (
  view: View,
  answer: ReadonlyArray<ServiceWithInstances>,
  now: number,
  { asked, hasLeft = () => false, limits = ViewTuning.standard }: MergeOptions = {}
): Merging => {
  const answered = new Map<string, ServiceWithInstances>()
  const merged = new Map<string, ServiceView.ServiceView>()
  const changed = new Set<string>()
  const counts = (instance: Instance) => instance.env === view.env && !hasLeft(instance)
  /** The view that the services were merged into, and as it is by now. */
  let base = view
  let latest = view

  function* take(name: string): Generator<void, void> {
    const before = find(base, name)
    const after = before?.isStatic
      ? { service: before, isChanged: false }
      : yield* ServiceView.merge(before, answered.get(name), { now, limits, counts })
    if (after.service === undefined) merged.delete(name)
    else merged.set(name, after.service)
    if (after.isChanged) changed.add(name)
    else changed.delete(name)
  }

  function* takeAll(): Generator<void, void> {
    for (const one of answer) {
      yield
      const { name, project, updatedAt } = one.service
      if (project !== view.project || asked?.has(name) === false) continue
      const duplicate = answered.get(name)
      if (duplicate !== undefined && duplicate.service.updatedAt >= updatedAt) continue
      answered.set(name, one)
      yield* take(name)
    }
    for (const name of (asked ?? view.services).keys()) {
      if (answered.has(name)) continue
      yield
      yield* take(name)
    }
  }

  /** The services that something has left since they were taken. */
  function* takeAgain(): Generator<void, void> {
    const former = base
    base = latest
    for (const [name, service] of base.services) {
      if (service !== find(former, name) && asked?.has(name) !== false) yield* take(name)
    }
  }

  let steps = takeAll()
  return {
    step: (current) => {
      latest = current
      if (steps.next().done !== true) return false
      if (base === latest) return true
      steps = takeAgain()
      return false
    },
    finish: (current) => {
      latest = current
      while (base !== latest) for (const _ of takeAgain());
      const services = asked === undefined ? merged : new Map(current.services)
      for (const name of asked ?? []) {
        const after = merged.get(name)
        if (after === undefined) services.delete(name)
        else services.set(name, after)
      }
      const hadServices = current.hadServices || services.size > 0
      const listedAt = asked === undefined ? now : current.listedAt
      return [{ ...current, listedAt, hadServices, services }, changed]
    }
  }
}

/**
 * Without this instance, unless an answer shows it again: this process has deregistered it, or has called it while it was
 * held, and failed.
 */
export const without = (view: View, name: string, instanceKey: string): View => {
  const before = find(view, name)
  const after = before && atOnce(ServiceView.without(before, new Set([instanceKey])))
  return after === undefined || after === before ? view : replace(view, name, after)
}

export const replace = (view: View, name: string, service: ServiceView.ServiceView): View => ({
  ...view,
  services: new Map(view.services).set(name, service)
})

/** With these services as well, where the view has none of their names. */
export const add = (view: View, services: ReadonlyArray<ServiceView.ServiceView>): View => ({
  ...view,
  hadServices: view.hadServices || services.some(({ isFromDisk }) => isFromDisk),
  services: new Map([...services.map((one) => [one.service.name, one] as const), ...view.services])
})

/** Without the services on which no answer has come for so long. With nothing left, it counts as never fetched. */
export const expire = (view: View, now: number, maxAgeMillis: number): View => {
  const services = new Map<string, ServiceView.ServiceView>()
  let answered = 0
  for (const [name, service] of view.services) {
    if (!service.isStatic && ServiceView.ageMillis(service, now) >= maxAgeMillis) continue
    services.set(name, service)
    if (!service.isStatic) answered++
  }
  const isForgotten = answered === 0 && view.listedAt !== undefined && now - view.listedAt >= maxAgeMillis
  return { ...view, services, listedAt: isForgotten ? undefined : view.listedAt }
}
