-- Avro records as fields: the first half of a statement that types.sql or faults.sql ends.
--
-- grain:    one row in, one row out.
-- reads:    avro_batch  row_number, broker_timestamp, ingest_timestamp; fault and fault_detail (of what can't be
--                       decoded); each field and <field>_kind (schemas.avro_columns; 'NULL' for an absent field)
-- gives:    as parse_json.sql, kinds null where there is a fault; no text, which the caller makes for the few rows
--           that need it
with extracted as (
    select
        row_number, null::varchar as text, broker_timestamp, ingest_timestamp,
        struct_pack(
            event_id := event_id, user_id := user_id, profile_id := profile_id, session_id := session_id,
            title_id := title_id, content_id := content_id, event_type := event_type,
            device_type := device_type, country := country, app_version := app_version, event_ts := event_ts,
            playhead_s := playhead_s,
            audio_language := case audio_language_kind when 'VARCHAR' then audio_language end,
            ab_bucket := case ab_bucket_kind when 'VARCHAR' then ab_bucket end
        ) as field,
        case when fault is null then [
            event_id_kind, user_id_kind, profile_id_kind, session_id_kind, title_id_kind, content_id_kind,
            event_type_kind, device_type_kind, country_kind, app_version_kind, event_ts_kind, playhead_s_kind
        ] end as kinds,
        case when bitrate_kbps >= 0.0 then try_cast(bitrate_kbps as integer) end as kbps,
        case
            when audio_language_kind not in ('VARCHAR', 'NULL') or ab_bucket_kind not in ('VARCHAR', 'NULL')
                or (bitrate_kbps_kind <> 'NULL' and kbps is null)
                then list_filter(
                    [
                        case when audio_language_kind not in ('VARCHAR', 'NULL') then 'wrong_type:audio_language' end,
                        case when ab_bucket_kind not in ('VARCHAR', 'NULL') then 'wrong_type:ab_bucket' end,
                        case
                            when bitrate_kbps_kind = 'NULL' or kbps is not null then null
                            when bitrate_kbps is null then 'wrong_type:bitrate_kbps'
                            else 'out_of_range:bitrate_kbps'
                        end
                    ],
                    lambda code: code is not null
                )
        end as odd,
        fault, fault_detail
    from avro_batch
),

parsed as (
    select * rename (kbps as bitrate_kbps) from extracted
),

