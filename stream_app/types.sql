-- The types of fields: the second half of a statement that parse_json.sql or parse_avro.sql begins.
--
-- grain:  one row in, one row out.
-- reads:  parsed; kinds[n] is null for an absent field and 'NULL' for a JSON null: both mean missing
-- gives:  typed_batch of process.sql, but for the rows looked up: the fields by name, `title_id` under either name, and
--         texts_are_texts                  whether no text is of another type and the required ones are there
--         <number>_is_missing, _is_number  what its kind says of a number
--         odd                              codes for silver.warnings of later fields that can't be read; null: none
typed as (
    select
        row_number, text, broker_timestamp, ingest_timestamp,
        field.event_id, field.user_id, field.profile_id, field.session_id,
        coalesce(field.title_id, field.content_id) as title_id,
        field.event_type, field.device_type, field.country, field.app_version,
        field.event_ts, field.playhead_s,
        kinds[1] = 'VARCHAR' and kinds[2] = 'VARCHAR' and kinds[3] = 'VARCHAR' and kinds[4] = 'VARCHAR'
            and (kinds[5] = 'VARCHAR' or (field.title_id is null and kinds[6] = 'VARCHAR'))
            and kinds[7] = 'VARCHAR'
            and (field.device_type is null or kinds[8] = 'VARCHAR')
            and (field.country is null or kinds[9] = 'VARCHAR')
            and (field.app_version is null or kinds[10] = 'VARCHAR') as texts_are_texts,
        nullif(kinds[11], 'NULL') is null as event_ts_is_missing,
        nullif(kinds[12], 'NULL') is null as playhead_s_is_missing,
        case kinds[11]
            when 'DOUBLE' then true when 'BIGINT' then true when 'UBIGINT' then true when 'HUGEINT' then true
            else false
        end as event_ts_is_number,
        case kinds[12]
            when 'DOUBLE' then true when 'BIGINT' then true when 'UBIGINT' then true when 'HUGEINT' then true
            else false
        end as playhead_s_is_number,
        -- Fields of version 2 never refuse a record (schemas.event.LATER_TEXT_FIELDS); `odd` says why one is null.
        field.audio_language, field.ab_bucket, bitrate_kbps, odd
    from parsed
)

from typed
