/**
 * The SDK of AIO for Effect: the four services and the errors by name, layers and functions as namespaces.
 *
 * @since 0.1.0
 */
export * as Balancing from "./core/balancing/Balancing.js"
export * as Connection from "./grpc/client/Connection.js"
export * as Aio from "./layers/Aio.js"
export * as AuthClient from "./layers/AuthClient.js"
export * as AuthMemory from "./layers/AuthMemory.js"
export * as Credentials from "./layers/Credentials.js"
export * as DiscoveryCached from "./layers/DiscoveryCached.js"
export * as HealthCheck from "./layers/HealthCheck.js"
export * as HeartbeatStream from "./layers/HeartbeatStream.js"
export * as Main from "./layers/Main.js"
export * as RegistryGrpc from "./layers/RegistryGrpc.js"
export * as RegistryMemory from "./layers/RegistryMemory.js"
export * as SnapshotStore from "./layers/SnapshotStore.js"
export type { AccessToken } from "./schemas/AccessToken.js"
export * as Address from "./schemas/Address.js"
export * as AioConfig from "./schemas/AioConfig.js"
export * from "./schemas/AioError.js"
export * from "./schemas/Ids.js"
export { Endpoint, Instance, type Lease, type NewInstance, Port } from "./schemas/Instance.js"
export { JsonObject, type JsonValue } from "./schemas/Json.js"
export { type NewService, Service, type ServiceRef, ServiceWithInstances } from "./schemas/Service.js"
export type { StaticInstance, StaticInstances } from "./schemas/StaticInstances.js"
export * as StatusCode from "./schemas/StatusCode.js"
export { Auth } from "./services/Auth.js"
export {
  type Client,
  type ClientUseOptions,
  Discovery,
  type DiscoveryError,
  type Explanation,
  type GrpcTarget,
  type HttpTarget,
  type InstanceChange,
  type InstanceExplanation,
  type Outcome,
  type Picked,
  type PickOptions,
  type Protocol,
  type Reporting,
  type Resolved,
  type Target,
  type Targets,
  type UseOptions
} from "./services/Discovery.js"
export {
  Heartbeat,
  type HeartbeatError,
  type KeptLease,
  type LeaseEvent,
  type LeaseState,
  type NewRegistration,
  type Registration,
  type RegistrationStatus,
  type SelfInstance
} from "./services/Heartbeat.js"
export {
  type EnsuredService,
  type HeartbeatAck,
  Registry,
  type ServiceFilter
} from "./services/Registry.js"
export * as Metrics from "./telemetry/Metrics.js"
