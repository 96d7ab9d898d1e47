/** The model of a registry, asked without a clock or a socket. */
import { Either } from "effect"
import * as RegistryModel from "../../src/core/registry/RegistryModel.js"
import { type LeaseKey, ServiceId } from "../../src/schemas/Ids.js"
import type * as Messages from "../../src/wire/Messages.js"

export const T = 1_795_361_365_250
export const newKey = () => "generated"

export const answer = <A>(result: Either.Either<A, { readonly code: number; readonly details: string }>): A =>
  Either.getOrThrowWith(result, ({ code, details }) => new Error(`${code} ${details}`))

export const refusal = (result: Either.Either<unknown, { readonly code: number; readonly details: string }>) =>
  Either.match(result, {
    onLeft: ({ code, details }) => `${code} ${details.split("\n", 1)[0]}`,
    onRight: () => "accepted"
  })

export const instance = (changes: Messages.RegisterInstanceRequest = {}): Messages.RegisterInstanceRequest => ({
  service_id: "1",
  instance_key: "a",
  env: "dev",
  host: "10.0.0.1",
  endpoint: "10.0.0.1:80",
  ttl_seconds: "60",
  ...changes
})

export const key = (instanceKey: string, serviceId = "1"): LeaseKey => ({
  serviceId: ServiceId.make(serviceId),
  instanceKey
})

export const withService = (quirks?: RegistryModel.Quirks): RegistryModel.RegistryModel => {
  const model = new RegistryModel.RegistryModel(quirks)
  answer(model.ensure({ project: "shop", name: "orders" }, T))
  return model
}

export const listed = (model: RegistryModel.RegistryModel, now: number, filter: Messages.ListServicesRequest = {}) =>
  answer(model.list(filter, now)).services.flatMap(({ instances }) => instances.map((found) => found.instance_key))

export const heartbeat = (model: RegistryModel.RegistryModel, instanceKey: string, now: number, serviceId = "1") =>
  model.renew({ service_id: serviceId, instance_key: instanceKey }, now).expires_at
