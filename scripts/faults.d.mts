export declare const scenarios: ReadonlyMap<number, string>
export declare const tests: ReadonlyMap<number, ReadonlySet<string>>
export declare const unknown: ReadonlyArray<number>
