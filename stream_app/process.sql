-- Check and enrich the records of one batch, whatever format they came in.
--
-- grain:    one row in, one row out; `is_valid` means silver, else quarantine (faults.sql says why). The caller adds
--           positions and times by row_number, the catalogue's columns by title_row and the region by country_row.
-- reads:    typed_batch  what types.sql gives, or compiled code for plain JSON; title_row and country_row: where the
--                        catalogue and the table of countries have them, null where they don't
-- promise:  total (any bytes give a row) and pure (the same batch and tables, the same rows).
-- Plausible: between 2001-01-01 (dead clocks restart at 1970, 1980 or 2000) and a day after the broker saw it.
-- The bounds also keep NaN, infinities, milliseconds and 1e300 away from to_timestamp.
with timed as (
    select
        *,
        case
            when event_ts_is_number
                and event_ts between 978307200.0 and epoch(coalesce(broker_timestamp, ingest_timestamp)) + 86400.0
                then to_timestamp(event_ts)
        end as event_timestamp
    from typed_batch
),

judged as (
    select
        *,
        -- CASE, since IN over a handful of words becomes a hash join, which costs more than the rest of this step.
        case event_type
            when 'PLAY_START' then true when 'PLAY_STOP' then true when 'PAUSE' then true
            when 'RESUME' then true when 'SEEK' then true when 'HEARTBEAT' then true
            else false
        end as event_type_is_known,
        case device_type
            when 'mobile' then true when 'tablet' then true when 'web' then true
            when 'smart_tv' then true when 'console' then true when 'streaming_stick' then true
            else false
        end as device_is_known,
        title_row is not null as title_is_known,
        country_row is not null as country_is_known,
        coalesce(
            texts_are_texts
            and event_id <> '' and user_id <> '' and profile_id <> '' and session_id <> '' and title_id <> ''
            and event_type_is_known
            and (playhead_s_is_missing or (playhead_s_is_number and playhead_s between 0.0 and 604800.0)),
            false
        ) as is_valid
    from timed
),

-- The lake's own rules take this one's place (rules.py): `broken` has a bit for each, fields may be emptied.
ruled as (
    select *, 0::ubigint as broken, null::varchar[] as rule_warnings from judged
)

select
    event_id, user_id, profile_id, session_id, title_id, event_type,
    case when event_ts_is_number and isfinite(event_ts) then event_ts end as event_ts,
    event_timestamp,
    device_type, country, playhead_s, app_version, audio_language, bitrate_kbps, ab_bucket,
    title_row,
    country_row,
    -- Weighted mean of what a reader relies on: event time 0.30, title 0.30, country 0.15, device 0.15,
    -- playhead 0.05, client version 0.05; each counts 1 when known, 0 when not.
    (30 * (event_timestamp is not null)::int + 30 * title_is_known::int + 15 * country_is_known::int
        + 15 * device_is_known::int + 5 * (playhead_s is not null)::int + 5 * (app_version is not null)::int)
        / 100.0::double as quality_score,
    case
        when event_timestamp is null or not title_is_known or not country_is_known or not device_is_known
            or odd is not null or rule_warnings is not null
            then list_filter(
                [
                    case
                        when event_timestamp is not null then null
                        when event_ts_is_missing then 'event_time_missing'
                        when not event_ts_is_number then 'event_time_wrong_type'
                        else 'event_time_implausible'
                    end,
                    case when not title_is_known then 'unknown_title' end,
                    case when not country_is_known then 'unknown_country' end,
                    case when not device_is_known then 'unknown_device_type' end
                ],
                lambda code: code is not null
            ) || coalesce(odd, []) || coalesce(rule_warnings, [])
        else []::varchar[]
    end as warnings,
    case when event_timestamp is null then 'null' else 'event_ts' end as event_date_source,
    case when event_timestamp is null then text end as raw_payload,
    null::varchar as repair_id,
    -- cheaper than the cast, which asks a calendar of time zones
    case when event_timestamp is not null then date '1970-01-01' + floor(event_ts / 86400.0)::integer end as event_date,
    row_number,
    is_valid,
    broken
from ruled
