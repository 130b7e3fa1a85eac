-- What a tenant may take, and which adapter its requests get that name none. NULL: no limit, the default, none.

ALTER TABLE tenants ADD COLUMN adapters_max           INTEGER CHECK (adapters_max >= 0);
ALTER TABLE tenants ADD COLUMN adapter_bytes_max      INTEGER CHECK (adapter_bytes_max >= 0);
ALTER TABLE tenants ADD COLUMN tokens_per_minute      INTEGER CHECK (tokens_per_minute >= 1);
ALTER TABLE tenants ADD COLUMN requests_in_flight_max INTEGER CHECK (requests_in_flight_max >= 1);
ALTER TABLE tenants ADD COLUMN weight                 INTEGER CHECK (weight >= 1);
ALTER TABLE tenants ADD COLUMN default_adapter        TEXT;
