-- table:   dim_device
-- grain:   device type, over all dates
-- purpose: device types of the star around fact_playback.
-- reads:   gold/device_mix
-- columns:
--   device_type    text    as sent; `unknown`: none was sent
--   first_date     date    first date with an event of it
--   last_date      date    last date with one
select
    coalesce(device_type, 'unknown') as device_type,
    min(event_date) as first_date,
    max(event_date) as last_date
from device_mix
group by coalesce(device_type, 'unknown')
order by device_type
