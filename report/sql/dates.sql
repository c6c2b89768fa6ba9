-- The first and last date with events, and how many dates of the week before $date the lake reaches back over (0 to 7).
select
    min(event_date) as first,
    max(event_date) as last,
    greatest(0, least(7, date_diff('day', min(event_date), $date))) as days,
    coalesce(bool_or(event_date = $date), false) as has_events
from gold.audience_hours
