-- Avro records as fields: the first half of a statement that types.sql or faults.sql ends.
--
-- grain:    one row in, one row out.
-- reads:    avro_batch  row_number, broker_timestamp, ingest_timestamp; fault and fault_detail (of what can't be
--                       decoded); each field and <field>_kind (schemas.avro_columns; 'NULL' for an absent field)
-- gives:    as parse_json.sql, kinds null where there is a fault; no text, which the caller makes for the few rows
--           that need it
with parsed as (
    select
        row_number, null::varchar as text, broker_timestamp, ingest_timestamp,
        struct_pack(
            event_id := event_id, user_id := user_id, profile_id := profile_id, session_id := session_id,
            title_id := title_id, content_id := content_id, event_type := event_type,
            device_type := device_type, country := country, app_version := app_version, event_ts := event_ts,
            playhead_s := playhead_s
        ) as field,
        case when fault is null then [
            event_id_kind, user_id_kind, profile_id_kind, session_id_kind, title_id_kind, content_id_kind,
            event_type_kind, device_type_kind, country_kind, app_version_kind, event_ts_kind, playhead_s_kind
        ] end as kinds,
        fault, fault_detail
    from avro_batch
),

