-- Decode, check and enrich one batch of records.
--
-- grain:    one row in, one row out; `reasons` null means silver, else quarantine. The caller adds positions, times and
--           bytes by row_number.
-- reads:    batch      row_number, text (null where the bytes are no UTF-8), byte_count, broker_timestamp,
--                      ingest_timestamp of each record
--           titles     the title catalogue (stream_app.catalogue)
--           countries  code, region
-- promise:  total (any bytes give a row) and pure (the same batch and tables, the same rows).
--
-- json_transform gives null for what can't be read as the wanted type but turns numbers and objects into text and `true`
-- into 1.0, so each field's json_type decides. A bare NaN passes json_valid; to_timestamp raises beyond its range.
with parsed as (
    select
        *,
        case
            when json_valid(text) then json_transform(
                text,
                '{"event_id":"VARCHAR","user_id":"VARCHAR","profile_id":"VARCHAR","session_id":"VARCHAR",
                  "title_id":"VARCHAR","content_id":"VARCHAR","event_type":"VARCHAR","device_type":"VARCHAR",
                  "country":"VARCHAR","app_version":"VARCHAR","event_ts":"DOUBLE","playhead_s":"DOUBLE"}'
            )
        end as field,
        case
            when json_valid(text) then json_type(
                text,
                ['$.event_id', '$.user_id', '$.profile_id', '$.session_id', '$.title_id', '$.content_id',
                 '$.event_type', '$.device_type', '$.country', '$.app_version', '$.event_ts', '$.playhead_s']
            )
        end as kinds
    from batch
),

-- Null, absent and JSON null are one thing here: kind null.
typed as (
    select
        row_number, text, byte_count, broker_timestamp, ingest_timestamp, kinds is not null as is_json,
        field.event_id, field.user_id, field.profile_id, field.session_id,
        coalesce(field.title_id, field.content_id) as title_id,
        field.event_type, field.device_type, field.country, field.app_version,
        field.event_ts, field.playhead_s,
        nullif(kinds[1], 'NULL') as event_id_kind,
        nullif(kinds[2], 'NULL') as user_id_kind,
        nullif(kinds[3], 'NULL') as profile_id_kind,
        nullif(kinds[4], 'NULL') as session_id_kind,
        coalesce(nullif(kinds[5], 'NULL'), nullif(kinds[6], 'NULL')) as title_id_kind,
        nullif(kinds[7], 'NULL') as event_type_kind,
        nullif(kinds[8], 'NULL') as device_type_kind,
        nullif(kinds[9], 'NULL') as country_kind,
        nullif(kinds[10], 'NULL') as app_version_kind,
        nullif(kinds[11], 'NULL') as event_ts_kind,
        nullif(kinds[12], 'NULL') as playhead_s_kind,
        -- CASE, since IN over a handful of words becomes a hash join, which costs more than the rest of this step.
        case field.event_type
            when 'PLAY_START' then true when 'PLAY_STOP' then true when 'PAUSE' then true
            when 'RESUME' then true when 'SEEK' then true when 'HEARTBEAT' then true
            else false
        end as event_type_is_known,
        case field.device_type
            when 'mobile' then true when 'tablet' then true when 'web' then true
            when 'smart_tv' then true when 'console' then true when 'streaming_stick' then true
            else false
        end as device_is_known,
        case kinds[11]
            when 'DOUBLE' then true when 'BIGINT' then true when 'UBIGINT' then true when 'HUGEINT' then true
            else false
        end as event_ts_is_number,
        case kinds[12]
            when 'DOUBLE' then true when 'BIGINT' then true when 'UBIGINT' then true when 'HUGEINT' then true
            else false
        end as playhead_s_is_number
    from parsed
),

-- Plausible: between 2001-01-01 (dead clocks restart at 1970, 1980 or 2000) and a day after the broker saw it.
-- The bounds also keep NaN, infinities, milliseconds and 1e300 away from to_timestamp.
timed as (
    select
        *,
        case
            when event_ts_is_number
                and event_ts between 978307200.0 and epoch(coalesce(broker_timestamp, ingest_timestamp)) + 86400.0
                then to_timestamp(event_ts)
        end as event_timestamp
    from typed
),

judged as (
    select
        timed.*,
        titles.title, titles.content_type, titles.genres, titles.release_year, titles.rating, titles.director,
        titles.duration_s, titles.content_countries,
        countries.region,
        titles.title_id is not null as title_is_known,
        countries.code is not null as country_is_known,
        coalesce(
            event_id_kind = 'VARCHAR' and event_id <> ''
            and user_id_kind = 'VARCHAR' and user_id <> ''
            and profile_id_kind = 'VARCHAR' and profile_id <> ''
            and session_id_kind = 'VARCHAR' and session_id <> ''
            and title_id_kind = 'VARCHAR' and timed.title_id <> ''
            and event_type_kind = 'VARCHAR' and event_type_is_known
            and coalesce(device_type_kind, 'VARCHAR') = 'VARCHAR'
            and coalesce(country_kind, 'VARCHAR') = 'VARCHAR'
            and coalesce(app_version_kind, 'VARCHAR') = 'VARCHAR'
            and (playhead_s_kind is null or (playhead_s_is_number and playhead_s between 0.0 and 604800.0)),
            false
        ) as is_valid
    from timed
    left join titles on timed.title_id = titles.title_id
    left join countries on timed.country = countries.code
)

select
    event_id, user_id, profile_id, session_id, title_id, event_type,
    case when event_ts_is_number and isfinite(event_ts) then event_ts end as event_ts,
    event_timestamp,
    device_type, country, playhead_s, app_version,
    title, content_type, genres, release_year, rating, director, duration_s, content_countries,
    region,
    -- Weighted mean of what a reader relies on: event time 0.30, title 0.30, country 0.15, device 0.15,
    -- playhead 0.05, client version 0.05; each counts 1 when known, 0 when not.
    (30 * (event_timestamp is not null)::int + 30 * title_is_known::int + 15 * country_is_known::int
        + 15 * device_is_known::int + 5 * (playhead_s is not null)::int + 5 * (app_version is not null)::int)
        / 100.0::double as quality_score,
    case
        when event_timestamp is null or not title_is_known or not country_is_known or not device_is_known
            then list_filter(
                [
                    case
                        when event_timestamp is not null then null
                        when event_ts_kind is null then 'event_time_missing'
                        when not event_ts_is_number then 'event_time_wrong_type'
                        else 'event_time_implausible'
                    end,
                    case when not title_is_known then 'unknown_title' end,
                    case when not country_is_known then 'unknown_country' end,
                    case when not device_is_known then 'unknown_device_type' end
                ],
                lambda code: code is not null
            )
        else []::varchar[]
    end as warnings,
    case when event_timestamp is null then 'null' else 'event_ts' end as event_date_source,
    case when event_timestamp is null then text end as raw_payload,
    null::varchar as repair_id,
    event_timestamp::date as event_date,
    row_number,
    case
        when is_valid then null
        when coalesce(byte_count, 0) = 0 then ['empty_value']
        when text is null then ['not_utf8']
        when not is_json then ['malformed_json']
        when json_type(text) <> 'OBJECT' then ['not_an_object']
        else list_filter(
            [
                case when event_id_kind is null or event_id = '' then 'missing:event_id' end,
                case when user_id_kind is null or user_id = '' then 'missing:user_id' end,
                case when profile_id_kind is null or profile_id = '' then 'missing:profile_id' end,
                case when session_id_kind is null or session_id = '' then 'missing:session_id' end,
                case when title_id_kind is null or title_id = '' then 'missing:title_id' end,
                case when event_type_kind is null then 'missing:event_type' end,
                case when event_id_kind <> 'VARCHAR' then 'wrong_type:event_id' end,
                case when user_id_kind <> 'VARCHAR' then 'wrong_type:user_id' end,
                case when profile_id_kind <> 'VARCHAR' then 'wrong_type:profile_id' end,
                case when session_id_kind <> 'VARCHAR' then 'wrong_type:session_id' end,
                case when title_id_kind <> 'VARCHAR' then 'wrong_type:title_id' end,
                case when event_type_kind <> 'VARCHAR' then 'wrong_type:event_type' end,
                case when device_type_kind <> 'VARCHAR' then 'wrong_type:device_type' end,
                case when country_kind <> 'VARCHAR' then 'wrong_type:country' end,
                case when app_version_kind <> 'VARCHAR' then 'wrong_type:app_version' end,
                case
                    when playhead_s_kind is not null and not playhead_s_is_number then 'wrong_type:playhead_s'
                end,
                case when event_type_kind = 'VARCHAR' and not event_type_is_known then 'unknown_event_type' end,
                case
                    when playhead_s_is_number and not coalesce(playhead_s between 0.0 and 604800.0, false)
                        then 'out_of_range:playhead_s'
                end
            ],
            lambda code: code is not null
        )
    end as reasons,
    case
        when is_valid or not is_json then null
        else nullif(
            concat_ws(
                '; ',
                case when event_id_kind <> 'VARCHAR' then 'event_id is ' || event_id_kind end,
                case when user_id_kind <> 'VARCHAR' then 'user_id is ' || user_id_kind end,
                case when profile_id_kind <> 'VARCHAR' then 'profile_id is ' || profile_id_kind end,
                case when session_id_kind <> 'VARCHAR' then 'session_id is ' || session_id_kind end,
                case when title_id_kind <> 'VARCHAR' then 'title_id is ' || title_id_kind end,
                case
                    when event_type_kind <> 'VARCHAR' then 'event_type is ' || event_type_kind
                    when not event_type_is_known then 'event_type is ' || left(event_type, 60)
                end,
                case when device_type_kind <> 'VARCHAR' then 'device_type is ' || device_type_kind end,
                case when country_kind <> 'VARCHAR' then 'country is ' || country_kind end,
                case when app_version_kind <> 'VARCHAR' then 'app_version is ' || app_version_kind end,
                case
                    when playhead_s_kind is not null and not playhead_s_is_number
                        then 'playhead_s is ' || playhead_s_kind
                    when playhead_s_is_number and not coalesce(playhead_s between 0.0 and 604800.0, false)
                        then 'playhead_s is ' || playhead_s::varchar
                end
            ),
            ''
        )
    end as detail
from judged
