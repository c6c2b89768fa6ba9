-- source:  playback
-- grain:   one session's share of an hour: event_date × event_hour × session × viewer × title × device × country
-- purpose: plays and watch seconds, with every event counted once; what all viewing tables are summed from.
-- reads:   silver -7d..7d linked by session_id, repeats -7d..7d linked by session_id
-- columns:
--   event_date       date of the events (UTC)
--   event_hour       their hour, 0–23
--   session_id       their session
--   viewer           text that is the same for the same user_id and profile_id, and for no others
--   title_id, device_type, country   of the events
--   region           of the country
--   events           events
--   plays, pauses, seeks   PLAY_START, PAUSE, SEEK events
--   watch_us         microseconds watched, see below
--   title, content_type, genres, rating, director, release_year, content_countries   of the title in the catalogue, as
--                    the date's rows have them
--   duration_us      length of the title in microseconds, null for series and unknown titles
--
-- Watch time is the sum, within a session, of the time from each event while playing to the next one, at most twice the
-- heartbeat interval; it goes to the date, hour, title and device of the event that starts the gap, also over midnight.
-- Playing: after PLAY_START, RESUME and HEARTBEAT; after SEEK if the event before was; not after PAUSE and PLAY_STOP. The
-- last event of a session starts no gap. Events are ordered by event_timestamp, then by position.
-- A session's events are looked for up to 7 days around a date, which is what a date depends on: a stray event of a clock
-- that is days off starts a gap like any other.
-- Times are taken as microseconds: DuckDB's calendar, which knows time zones, takes ninety times as long for a difference.
with wanted_sessions as (
    select distinct session_id from silver where event_date in (select event_date from wanted)
),

of_sessions as materialized (
    select
        event_date, event_timestamp, session_id, user_id, profile_id, title_id, device_type, country, region,
        event_type, topic, topic_id, kafka_partition, kafka_offset
    from silver
    where event_date is not null and session_id in (select session_id from wanted_sessions)
),

events as (
    select *
    from of_sessions
    where
        not exists (
            select 1
            from repeats
            where
                repeats.kafka_offset = of_sessions.kafka_offset
                and repeats.kafka_partition = of_sessions.kafka_partition
                and repeats.topic_id = of_sessions.topic_id
                and repeats.topic = of_sessions.topic
        )
),

followed as (
    select
        event_date, event_timestamp, session_id, user_id, profile_id, title_id, device_type, country, region,
        event_type,
        lead(event_timestamp) over session_order as next_timestamp,
        lead(event_date) over session_order as next_date,
        last_value(case when event_type <> 'SEEK' then event_type end ignore nulls) over session_order as state,
        last_value(case when event_type <> 'SEEK' then event_date end ignore nulls) over session_order as state_date
    from events
    window session_order as (
        partition by session_id
        order by event_timestamp, kafka_offset, kafka_partition, topic, topic_id
    )
),

watched as (
    select
        event_date,
        epoch_us(event_timestamp) // 3600000000 % 24 as event_hour,
        session_id,
        concat(length(user_id), ':', user_id, profile_id) as viewer,
        title_id, device_type, country, region, event_type,
        case
            when
                state in ('PLAY_START', 'RESUME', 'HEARTBEAT')
                and date_diff('day', state_date, event_date) <= 7
                and date_diff('day', event_date, next_date) <= 7
                then least(epoch_us(next_timestamp) - epoch_us(event_timestamp), watch_gap_cap_us)
            else 0
        end as watch_us
    from followed
    cross join constants
    where event_date in (select event_date from wanted)
),

slices as (
    select
        event_date, event_hour, session_id, viewer, title_id, device_type, country,
        max(region) as region,
        count(*) as events,
        count(*) filter (where event_type = 'PLAY_START') as plays,
        count(*) filter (where event_type = 'PAUSE') as pauses,
        count(*) filter (where event_type = 'SEEK') as seeks,
        sum(watch_us) as watch_us
    from watched
    group by event_date, event_hour, session_id, viewer, title_id, device_type, country
),

titles as (
    select
        event_date, title_id,
        max(title) as title, max(content_type) as content_type, max(genres) as genres, max(rating) as rating,
        max(director) as director, max(release_year) as release_year, max(content_countries) as content_countries,
        max(duration_s) as duration_s
    from silver
    where event_date in (select event_date from wanted)
    group by event_date, title_id
)

select
    slices.*,
    titles.title, titles.content_type, titles.genres, titles.rating, titles.director, titles.release_year,
    titles.content_countries,
    cast(round(nullif(titles.duration_s, 0) * 1000000) as bigint) as duration_us
from slices
inner join titles on slices.event_date = titles.event_date and slices.title_id = titles.title_id
