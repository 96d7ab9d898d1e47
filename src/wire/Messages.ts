/**
 * The messages of the wire, as `@grpc/proto-loader` gives and takes them: proto field names, 64-bit integers as decimal
 * strings. A field that is left out of a request travels as its proto3 default, which costs no bytes.
 *
 * @since 0.1.0
 */

/** @since 0.1.0 */
export interface AuthenticateClientRequest {
  readonly client_key: string
  readonly client_secret: string
}

/**
 * The answer to `AuthenticateClient` and to `RenewToken`.
 *
 * @since 0.1.0
 */
export interface TokenResponse {
  readonly access_token: string
  readonly expires_at: string
  readonly token_type: string
}

/** @since 0.1.0 */
export interface Service {
  readonly id: string
  readonly project: string
  readonly name: string
  readonly owner: string
  readonly description: string
  readonly spec_json: string
  readonly created_at: string
  readonly updated_at: string
}

/** @since 0.1.0 */
export interface Instance {
  readonly id: string
  readonly service_id: string
  readonly instance_key: string
  readonly env: string
  readonly host: string
  readonly endpoint: string
  readonly meta_json: string
  readonly ttl_seconds: string
  readonly last_heartbeat_at: string
  readonly created_at: string
  readonly endpoints_json: string
  readonly http_port: string
  readonly grpc_port: string
  readonly updated_at: string
}

/** @since 0.1.0 */
export interface ServiceWithInstances {
  readonly service: Service | null
  readonly instances: ReadonlyArray<Instance>
}

/** @since 0.1.0 */
export interface EnsureServiceRequest {
  readonly project?: string
  readonly name?: string
  readonly owner?: string
  readonly description?: string
  readonly spec_json?: string
}

/** @since 0.1.0 */
export interface EnsureServiceResponse {
  readonly service: Service | null
  readonly created: boolean
}

/** @since 0.1.0 */
export interface RegisterInstanceRequest {
  readonly service_id?: string
  readonly instance_key?: string
  readonly env?: string
  readonly host?: string
  readonly endpoint?: string
  readonly meta_json?: string
  readonly ttl_seconds?: string
  readonly endpoints_json?: string
  readonly http_port?: string
  readonly grpc_port?: string
}

/** @since 0.1.0 */
export interface RegisterInstanceResponse {
  readonly instance_key: string
  readonly expires_at: string
}

/**
 * The request of `DeregisterInstance` and of a beat.
 *
 * @since 0.1.0
 */
export interface LeaseRequest {
  readonly service_id?: string
  readonly instance_key?: string
}

/** @since 0.1.0 */
export interface DeregisterInstanceResponse {
  readonly success: boolean
  readonly message: string
}

/** @since 0.1.0 */
export interface HeartbeatResponse {
  readonly expires_at: string
}

/** @since 0.1.0 */
export interface ListServicesRequest {
  readonly project?: string
  readonly env?: string
}

/** @since 0.1.0 */
export interface ListServicesResponse {
  readonly services: ReadonlyArray<ServiceWithInstances>
  readonly total: number
}

/** @since 0.1.0 */
export interface GetServiceByIDRequest {
  readonly id?: string
}

/** @since 0.1.0 */
export interface GetServiceByIDResponse {
  readonly service: ServiceWithInstances | null
}
