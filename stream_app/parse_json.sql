-- JSON records as fields: the first half of a statement that types.sql or faults.sql ends.
--
-- grain:    one row in, one row out.
-- reads:    json_batch  row_number, text (null where the bytes are no UTF-8), byte_count, broker_timestamp,
--                       ingest_timestamp
-- gives:    field         what was read as the wanted type
--           kinds         each field's type, null for an absent field and 'NULL' for a JSON null; both mean missing
--           fault         why there are no fields at all; else null
--           fault_detail  null
--           bitrate_kbps  a number from 0 on, rounded; else null
--           odd           codes for silver.warnings of later fields that can't be read; null: none
--
-- json_transform gives null for what can't be read as the wanted type but turns numbers and objects into text and `true`
-- into 1.0, so each field's json_type decides; not for the text of version 2, where nothing is lost by it. A bare NaN
-- passes json_valid.
with checked as (
    select *, coalesce(json_valid(text), false) as is_json
    from json_batch
),

extracted as (
    select
        row_number, text, broker_timestamp, ingest_timestamp,
        case
            when is_json then json_transform(
                text,
                '{"event_id":"VARCHAR","user_id":"VARCHAR","profile_id":"VARCHAR","session_id":"VARCHAR",
                  "title_id":"VARCHAR","content_id":"VARCHAR","event_type":"VARCHAR","device_type":"VARCHAR",
                  "country":"VARCHAR","app_version":"VARCHAR","event_ts":"DOUBLE","playhead_s":"DOUBLE",
                  "audio_language":"VARCHAR","ab_bucket":"VARCHAR","bitrate_kbps":"INTEGER"}'
            )
        end as field,
        case
            when is_json then json_type(
                text,
                ['$.event_id', '$.user_id', '$.profile_id', '$.session_id', '$.title_id', '$.content_id',
                 '$.event_type', '$.device_type', '$.country', '$.app_version', '$.event_ts', '$.playhead_s',
                 '$.bitrate_kbps']
            )
        end as kinds,
        case
            when coalesce(byte_count, 0) = 0 then 'empty_value'
            when text is null then 'not_utf8'
            when not is_json then 'malformed_json'
            when json_type(text) <> 'OBJECT' then 'not_an_object'
        end as fault,
        null::varchar as fault_detail
    from checked
),

parsed as (
    select
        *,
        case
            when field.bitrate_kbps >= 0 then case kinds[13]
                when 'UBIGINT' then field.bitrate_kbps when 'BIGINT' then field.bitrate_kbps
                when 'DOUBLE' then field.bitrate_kbps
            end
        end as bitrate_kbps,
        case
            when kinds[13] <> 'NULL' and bitrate_kbps is null then [
                case kinds[13]
                    when 'UBIGINT' then 'out_of_range:bitrate_kbps' when 'BIGINT' then 'out_of_range:bitrate_kbps'
                    when 'DOUBLE' then 'out_of_range:bitrate_kbps' when 'HUGEINT' then 'out_of_range:bitrate_kbps'
                    else 'wrong_type:bitrate_kbps'
                end
            ]
        end as odd
    from extracted
),

