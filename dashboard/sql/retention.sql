-- Viewers by date, and how many came back, of the chosen dates.
select * from gold.viewer_retention
where event_date between $first and $last
order by event_date
