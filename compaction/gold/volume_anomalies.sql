-- table:   volume_anomalies
-- grain:   event_date × country × hour that is told apart from the same hour of former weeks; hour null: the whole date
-- purpose: hours and dates with far more or fewer events from a country than the same weekday and hour of the last four
--          weeks had. Needs two of those; an hour without a row had no events, which counts as 0.
-- reads:   gold/country_hours
-- columns:
--   event_date     date    the date (UTC)
--   country        text    ISO 3166-1 alpha-2 code as sent; null: none was sent
--   event_hour     integer hour, 0–23 (UTC); null: the whole date
--   events         bigint  events that there were
--   expected       double  median of the former weeks
--   deviation      double  (events − expected) ÷ expected
--   score          double  (events − expected) ÷ what they vary by: the larger of 1.4826 × the former weeks' median distance from their median, and chance
--   weeks          bigint  former weeks that there are, 2 to 4
--
-- Told are scores beyond 4 either way with at least 15 % of deviation: chance alone reaches that less than once in years.
-- The last date with events is still coming in and is left out.
with volumes as (
    select event_date, country, event_hour, events, spread from country_hours
    union all
    select event_date, country, null as event_hour, sum(events) as events, sum(spread) as spread
    from country_hours
    group by event_date, country
),

dates as (
    select distinct event_date from country_hours
),

places as (
    select country, event_hour from volumes group by country, event_hour
),

grid as (
    select dates.event_date, places.country, places.event_hour, coalesce(volumes.events, 0) as events
    from dates
    cross join places
    left join volumes
        on
            dates.event_date = volumes.event_date
            and places.country is not distinct from volumes.country
            and places.event_hour is not distinct from volumes.event_hour
),

-- Events come in sessions: their number varies as if so many came at once, one such lump after the other by chance.
lumps as (
    select event_hour is null as is_whole, country, cast(sum(spread) as double) / sum(events) as lump
    from volumes
    group by event_hour is null, country
),

former as (
    select
        now.event_date, now.country, now.event_hour, now.events,
        median(past.events) as expected,
        count(*) as weeks,
        list(past.events) as past_events
    from grid as now
    inner join grid as past
        on
            now.country is not distinct from past.country
            and now.event_hour is not distinct from past.event_hour
            and date_diff('day', past.event_date, now.event_date) in (7, 14, 21, 28)
    where now.event_date < (select max(event_date) from dates)
    group by now.event_date, now.country, now.event_hour, now.events
    having count(*) >= 2
),

varied as (
    select
        event_date, country, event_hour, events, expected, weeks,
        median(abs(past_event - expected)) as distance
    from (select *, unnest(past_events) as past_event from former) as each_week
    group by event_date, country, event_hour, events, expected, weeks
),

scored as (
    select
        event_date, varied.country, event_hour, events, expected, weeks,
        (events - expected) / expected as deviation,
        (events - expected)
        / greatest(1.4826 * distance, sqrt(lump * greatest(expected, events, lump) * (1 + 1.57 / weeks))) as score
    from varied
    inner join lumps
        on varied.country is not distinct from lumps.country and (varied.event_hour is null) = lumps.is_whole
    where expected > 0
)

select event_date, country, event_hour, events, expected, deviation, score, weeks
from scored
where abs(score) > 4 and abs(deviation) >= 0.15
order by event_date, country, event_hour
